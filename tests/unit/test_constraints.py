"""The service model's constraints, in AWS's words."""

from __future__ import annotations

from typing import Any
from unicodedata import category

import pytest
from botocore.model import Shape, ShapeResolver
from botocore.session import get_session
from hypothesis import given
from hypothesis import strategies as st

from lambent import spec
from lambent.model.errors import ValidationError
from lambent.spec.constraints import as_java_shows, compile_request_check, java_pattern

ROLE = "arn:aws:iam::123456789012:role/r"
CREATE = {"FunctionName": "hello", "Role": ROLE, "Code": {"ZipFile": b"zip"}}

SHAPES = ShapeResolver(
    {
        "Request": {
            "type": "structure",
            "required": ["Name"],
            "members": {
                "Name": {"shape": "Name"},
                "Count": {"shape": "Count"},
                "Weights": {"shape": "Weights"},
                "Names": {"shape": "Names"},
                "Nodes": {"shape": "Nodes"},
                "Secrets": {"shape": "Secrets"},
                "Blob": {"shape": "Blob"},
            },
        },
        "Name": {"type": "string", "min": 2, "max": 4, "pattern": "[a-z]+"},
        "Count": {"type": "integer", "min": -1, "max": 7},
        "Weight": {"type": "double", "min": 0, "max": 1},
        "Weights": {"type": "map", "key": {"shape": "Name"}, "value": {"shape": "Weight"}},
        "Names": {"type": "list", "member": {"shape": "Name"}, "min": 1, "max": 2},
        "Node": {
            "type": "structure",
            "required": ["Key"],
            "members": {"Key": {"shape": "Name"}, "Nodes": {"shape": "Nodes"}},
        },
        "Nodes": {"type": "list", "member": {"shape": "Node"}},
        "Secret": {"type": "string", "max": 2, "sensitive": True},
        "Secrets": {"type": "list", "member": {"shape": "Secret"}},
        "Blob": {"type": "blob", "max": 2},
    }
)
CHECK = compile_request_check("Test", SHAPES.get_shape_by_name("Request"))
NAME_RULES = (
    "Member must have length less than or equal to 4, Member must have length greater than or equal to 2, "
    "Member must satisfy regular expression pattern: [a-z]+, Member must not be null"
)


def refusal(parameters: dict[str, Any], operation: str = "CreateFunction") -> str:
    shape = spec_shape(operation)
    with pytest.raises(ValidationError) as refused:
        compile_request_check(operation, shape)(parameters)
    assert refused.value.message is not None
    return refused.value.message


def spec_shape(operation: str) -> Shape:
    return get_session().get_service_model("lambda").operation_model(operation).input_shape


def one(violation: str) -> str:
    return f"1 validation error detected: {violation}"


WEIGHT_RULES = (
    "Member must have value less than or equal to 1.0, Member must have value greater than or equal to 0.0, "
    "Member must not be null"
)


@pytest.mark.parametrize(
    ("parameters", "value", "rule"),
    [
        ({}, "null at 'name'", "Member must not be null"),
        ({"Name": "abcde"}, "'abcde' at 'name'", "Member must have length less than or equal to 4"),
        ({"Name": "a"}, "'a' at 'name'", "Member must have length greater than or equal to 2"),
        ({"Name": "ab\n"}, "'ab\n' at 'name'", "Member must satisfy regular expression pattern: [a-z]+"),
        ({"Count": 8}, "'8' at 'count'", "Member must have value less than or equal to 7"),
        ({"Count": -2}, "'-2' at 'count'", "Member must have value greater than or equal to -1"),
        ({"Weights": {"ab": 2.0}}, "'{ab=2.0}' at 'weights'", f"Map value must satisfy constraint: [{WEIGHT_RULES}]"),
        ({"Weights": {"9": 1.0}}, "'{9=1.0}' at 'weights'", f"Map keys must satisfy constraint: [{NAME_RULES}]"),
        ({"Names": ["ab", "9a"]}, "'[ab, 9a]' at 'names'", f"Member must satisfy constraint: [{NAME_RULES}]"),
        ({"Names": [None]}, "'[null]' at 'names'", f"Member must satisfy constraint: [{NAME_RULES}]"),
        ({"Names": []}, "'[]' at 'names'", "Member must have length greater than or equal to 1"),
        (
            {"Nodes": [{"Key": "ab"}, {"Key": "ab", "Nodes": [{}]}]},
            "null at 'nodes.2.member.nodes.1.member.key'",
            "Member must not be null",
        ),
        ({"Nodes": [None]}, "null at 'nodes.1.member'", "Member must not be null"),
        (
            {"Secrets": ["hunter2"]},
            "at 'secrets'",
            "Member must satisfy constraint: "
            "[Member must have length less than or equal to 2, Member must not be null]",
        ),
        (
            {"Blob": b"abc"},
            "'java.nio.HeapByteBuffer[pos=0 lim=3 cap=3]' at 'blob'",
            "Member must have length less than or equal to 2",
        ),
    ],
)
def test_a_broken_constraint_is_named_with_value_and_path(parameters: dict[str, Any], value: str, rule: str) -> None:
    with pytest.raises(ValidationError) as refused:
        CHECK({"Name": "ab"} | parameters if parameters else {})

    assert refused.value.message == one(f"Value {value} failed to satisfy constraint: {rule}")


def test_all_broken_constraints_are_named_at_once() -> None:
    with pytest.raises(ValidationError) as refused:
        CHECK({"Count": 8})

    assert refused.value.message == (
        "2 validation errors detected: Value null at 'name' failed to satisfy constraint: Member must not be null; "
        "Value '8' at 'count' failed to satisfy constraint: Member must have value less than or equal to 7"
    )


def test_the_texts_that_aws_answers_for_lambda() -> None:
    assert refusal(CREATE | {"Architectures": ["arm65"]}) == one(
        "Value '[arm65]' at 'architectures' failed to satisfy constraint: Member must satisfy constraint: "
        "[Member must satisfy enum value set: [x86_64, arm64], Member must not be null]"
    )
    assert refusal(CREATE | {"SnapStart": {"ApplyOn": "Never"}}) == one(
        "Value 'Never' at 'snapStart.applyOn' failed to satisfy constraint: "
        "Member must satisfy enum value set: [PublishedVersions, None]"
    )
    alias = {"FunctionName": "f", "Name": "live", "FunctionVersion": "1"}
    assert refusal(alias | {"RoutingConfig": {"AdditionalVersionWeights": {"1": 2.0}}}, "CreateAlias") == one(
        "Value '{1=2.0}' at 'routingConfig.additionalVersionWeights' failed to satisfy constraint: "
        f"Map value must satisfy constraint: [{WEIGHT_RULES}]"
    )


def test_what_the_operations_answer_themselves_is_left_to_them() -> None:
    check = compile_request_check("CreateFunction", spec_shape("CreateFunction"))

    check(CREATE | {"Runtime": "cobol85", "FunctionName": "no such name!"})


def test_a_name_longer_than_any_arn_is_refused_by_the_model() -> None:
    maximum = spec_shape("GetFunction").members["FunctionName"].metadata["max"]

    assert refusal({"FunctionName": "x" * (maximum + 1)}, "GetFunction") == one(
        f"Value '{'x' * (maximum + 1)}' at 'functionName' failed to satisfy constraint: "
        f"Member must have length less than or equal to {maximum}"
    )


@given(
    name=st.none() | st.text("ab9", max_size=6),
    count=st.none() | st.integers(-3, 10),
    names=st.none() | st.lists(st.none() | st.text("ab9", max_size=5), max_size=3),
)
def test_a_request_passes_exactly_if_it_keeps_every_constraint(
    name: str | None, count: int | None, names: list[str | None] | None
) -> None:
    def is_name(text: str | None) -> bool:
        return text is not None and 2 <= len(text) <= 4 and "9" not in text

    is_valid = (
        is_name(name)
        and (count is None or -1 <= count <= 7)
        and (names is None or (1 <= len(names) <= 2 and all(map(is_name, names))))
    )
    try:
        CHECK({"Name": name, "Count": count, "Names": names})
        passed = True
    except ValidationError:
        passed = False

    assert passed == is_valid


@pytest.mark.parametrize("service", ["lambda", "logs", "sts", "iam"])
def test_every_pattern_of_the_models_compiles(service: str) -> None:
    model = get_session().get_service_model(service)
    patterns = [model.shape_for(name).metadata.get("pattern") for name in model.shape_names]

    assert all(java_pattern(pattern) for pattern in patterns if pattern)


@given(st.characters(codec="utf-8"))
def test_the_tag_pattern_takes_letters_digits_and_separators_of_any_script(character: str) -> None:
    pattern = java_pattern(r"[\p{L}\p{Z}\p{N}_.:/=+\-@]*")

    assert (pattern.fullmatch(character) is not None) == (category(character)[0] in "LZN" or character in "_.:/=+-@")


def test_values_are_shown_as_java_shows_them() -> None:
    assert as_java_shows({"a": [True, None, 1.0, "x"]}) == "{a=[true, null, 1.0, x]}"


def test_a_service_is_loaded_once() -> None:
    assert spec.load("lambda") is spec.load("lambda")


@pytest.mark.parametrize("role", ["arn:aws:iam::١٢٣٤٥٦٧٨٩٠١٢:role/r", "arn:aws:iam::123456789012:role/ä"])
def test_digits_and_letters_of_a_pattern_are_those_of_java(role: str) -> None:
    pattern = r"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[\w+=,.@-]+"
    assert java_pattern(pattern).fullmatch("arn:aws:iam::123456789012:role/r")
    assert java_pattern(pattern).fullmatch(role) is None
    assert java_pattern(r"([\p{L}\p{N}_]*)").fullmatch("ä١")
