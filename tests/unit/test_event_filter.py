"""Filter patterns: the grammar rule by rule, what is refused, and what of a record each source lets a pattern see."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.model.event_filter import FilterSource, InvalidPattern, compile_filter
from lambent.model.event_filter.pattern import compile_object

ABSENT = object()


def passes(pattern: object, record: dict[str, Any], source: FilterSource = FilterSource.SQS) -> bool:
    return compile_filter([json.dumps(pattern)], source)(record)


@pytest.mark.parametrize(
    ("rules", "matching", "other"),
    [
        (["a"], ["a", ["b", "a"], [["a"]]], ["A", "b", "", None, 1, ABSENT, [], {"a": "a"}]),
        (["a", "b"], ["a", "b"], ["c"]),
        ([3], [3, 3.0, [3]], ["3", True, 4]),
        ([1], [1], [True]),
        ([True], [True], ["true", 1, False]),
        ([None], [None, [1, None]], ["", 0, False, ABSENT, []]),
        ([""], [""], [None, " ", ABSENT]),
        ([{"prefix": "us-"}], ["us-", "us-east"], ["US-", "eu", 5, None]),
        ([{"prefix": {"equals-ignore-case": "uS-"}}], ["US-east"], ["eu"]),
        ([{"suffix": ".png"}], ["a.png"], ["a.PNG", "png"]),
        ([{"suffix": {"equals-ignore-case": ".PNG"}}], ["a.png"], ["a.jpg"]),
        ([{"equals-ignore-case": "AbC"}], ["abc", "ABC"], ["ab", 1]),
        ([{"anything-but": "a"}], ["b", 1, None, True, ["a", "b"]], ["a", ["a"], ABSENT, []]),
        ([{"anything-but": ["a", "b"]}], ["c"], ["a", "b"]),
        ([{"anything-but": [1, 2]}], [3, "1", True], [1, 2.0]),
        ([{"anything-but": {"prefix": "a"}}], ["b", 1], ["a", "ab"]),
        ([{"anything-but": {"suffix": ["a", "b"]}}], ["c"], ["xa", "xb"]),
        ([{"anything-but": {"equals-ignore-case": ["a"]}}], ["b"], ["A"]),
        ([{"numeric": ["=", 5]}], [5, 5.0], [4, "5", True, None]),
        ([{"numeric": [">", 10, "<=", 20]}], [10.5, 20, [1, 15]], [10, 21, "15"]),
        ([{"numeric": ["<", 0]}], [-1], [0]),
        ([{"numeric": ["<", 5, ">=", 1]}], [1, 4], [5, 0]),
        ([{"exists": True}], ["a", None, 0, [1]], [ABSENT, {}, {"a": 1}, []]),
        ([{"exists": False}], [ABSENT, {"a": 1}, []], ["a", None, [1]]),
        (["a", {"exists": False}], ["a", ABSENT], ["b"]),
        (["a", {"prefix": "b"}], ["a", "bc"], ["c"]),
    ],
)
def test_a_rule_matches(rules: list[Any], matching: list[Any], other: list[Any]) -> None:
    match = compile_object({"key": rules})
    for value in (*matching, *other):
        record = {} if value is ABSENT else {"key": value}
        assert match(record, record) is any(value is one for one in matching), value


def test_keys_are_anded_and_or_is_of_objects() -> None:
    pattern = {"a": ["1"], "$or": [{"b": ["2"]}, {"c": {"d": ["3"]}, "e": ["4"]}]}
    assert passes(pattern, {"a": "1", "b": "2"})
    assert passes(pattern, {"a": "1", "c": {"d": "3"}, "e": "4"})
    assert not passes(pattern, {"a": "1", "c": {"d": "3"}})
    assert not passes(pattern, {"b": "2"})


def test_one_of_several_filters_is_enough_and_no_filter_lets_all_pass() -> None:
    several = compile_filter(['{"a": ["1"]}', '{"a": ["2"]}'], FilterSource.SQS)
    assert [several({"a": value}) for value in ("1", "2", "3")] == [True, True, False]
    assert compile_filter([], FilterSource.SQS)({})


def test_what_is_asked_of_an_object_in_a_list_is_asked_of_one_of_them() -> None:
    pattern = {"a": {"b": ["1"], "c": ["2"]}}
    assert passes(pattern, {"a": [{"b": "1"}, {"b": "1", "c": "2"}]})
    assert not passes(pattern, {"a": [{"b": "1"}, {"c": "2"}]})


def test_absence_is_asked_of_all_of_a_list() -> None:
    pattern = {"a": {"b": [{"exists": False}], "c": ["2"]}}
    assert passes(pattern, {"a": [{"c": "2"}, {"d": "1"}]})
    assert not passes(pattern, {"a": [{"c": "2"}, {"b": "1"}]})


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "a",
        "[]",
        "null",
        '"a"',
        "{}",
        '{"a": ["b"',
        '{"a": "b"}',
        '{"a": 1}',
        '{"a": null}',
        '{"a": []}',
        '{"a": {}}',
        '{"a": [["b"]]}',
        '{"a": [{}]}',
        '{"a": [{"prefix": "b", "suffix": "c"}]}',
        '{"a": [{"contains": "b"}]}',
        '{"a": [{"wildcard": "*b"}]}',
        '{"a": [{"cidr": "10.0.0.0/8"}]}',
        '{"a": [{"prefix": 1}]}',
        '{"a": [{"prefix": {"prefix": "a"}}]}',
        '{"a": [{"suffix": null}]}',
        '{"a": [{"equals-ignore-case": ["b"]}]}',
        '{"a": [{"exists": "true"}]}',
        '{"a": [{"anything-but": []}]}',
        '{"a": [{"anything-but": [1, "b"]}]}',
        '{"a": [{"anything-but": true}]}',
        '{"a": [{"anything-but": null}]}',
        '{"a": [{"anything-but": {"prefix": ""}}]}',
        '{"a": [{"anything-but": {"numeric": ["=", 1]}}]}',
        '{"a": [{"numeric": []}]}',
        '{"a": [{"numeric": 5}]}',
        '{"a": [{"numeric": ["="]}]}',
        '{"a": [{"numeric": ["!=", 5]}]}',
        '{"a": [{"numeric": ["=", "5"]}]}',
        '{"a": [{"numeric": ["=", true]}]}',
        '{"a": [{"numeric": ["=", 5000000001]}]}',
        '{"a": [{"numeric": [">", 5, "<", 5]}]}',
        '{"a": [{"numeric": [">", 1, ">", 2]}]}',
        '{"a": [{"numeric": ["=", 1, "=", 2]}]}',
        '{"a": [{"numeric": [1, ">"]}]}',
        '{"$or": {"a": ["b"]}}',
        '{"$or": []}',
        '{"$or": [{"a": ["b"]}]}',
        '{"$or": [{"a": ["b"]}, "c"]}',
        '{"$or": [{"a": ["b"]}, {}]}',
        '{"a":' * 100 + '["b"]' + "}" * 100,
        '{"a":' * 800 + '["b"]' + "}" * 800,
    ],
)
def test_what_is_not_of_the_grammar_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidPattern):
        compile_filter([pattern], FilterSource.SQS)


def base64_of(payload: str | bytes) -> str:
    return base64.b64encode(payload.encode() if isinstance(payload, str) else payload).decode()


JSON_PATTERN, TEXT_PATTERN, NO_PATTERN = {"a": [1]}, ["text"], None
JSON_PAYLOAD, TEXT_PAYLOAD, BINARY_PAYLOAD = '{"a": 1}', "text", b"\xff\xfe"


@pytest.mark.parametrize(
    ("source", "payload", "pattern", "is_passed"),
    [
        (FilterSource.SQS, TEXT_PAYLOAD, TEXT_PATTERN, True),
        (FilterSource.SQS, "other", TEXT_PATTERN, False),
        (FilterSource.SQS, TEXT_PAYLOAD, NO_PATTERN, True),
        (FilterSource.SQS, TEXT_PAYLOAD, JSON_PATTERN, False),
        (FilterSource.SQS, JSON_PAYLOAD, TEXT_PATTERN, False),
        (FilterSource.SQS, JSON_PAYLOAD, JSON_PATTERN, True),
        (FilterSource.SQS, '{"a": 2}', JSON_PATTERN, False),
        (FilterSource.SQS, '{"a": ', JSON_PATTERN, False),
        (FilterSource.KINESIS, JSON_PAYLOAD, JSON_PATTERN, True),
        (FilterSource.KINESIS, '[{"a": 1}]', JSON_PATTERN, True),
        (FilterSource.KINESIS, '{"a": 2}', JSON_PATTERN, False),
        (FilterSource.KINESIS, TEXT_PAYLOAD, JSON_PATTERN, False),
        (FilterSource.KINESIS, BINARY_PAYLOAD, JSON_PATTERN, False),
        (FilterSource.KINESIS, BINARY_PAYLOAD, NO_PATTERN, True),
        (FilterSource.KAFKA, TEXT_PAYLOAD, TEXT_PATTERN, True),
        (FilterSource.KAFKA, "other", TEXT_PATTERN, False),
        (FilterSource.KAFKA, TEXT_PAYLOAD, JSON_PATTERN, True),
        (FilterSource.KAFKA, JSON_PAYLOAD, TEXT_PATTERN, True),
        (FilterSource.KAFKA, '{"a": 2}', JSON_PATTERN, False),
        (FilterSource.KAFKA, BINARY_PAYLOAD, JSON_PATTERN, True),
        (FilterSource.MQ, TEXT_PAYLOAD, TEXT_PATTERN, True),
        (FilterSource.MQ, "other", TEXT_PATTERN, False),
        (FilterSource.MQ, TEXT_PAYLOAD, JSON_PATTERN, True),
        (FilterSource.MQ, '{"a": 2}', JSON_PATTERN, False),
    ],
)
def test_a_payload_meets_a_pattern_of_its_own_or_of_another_form(
    source: FilterSource, payload: Any, pattern: Any, is_passed: bool
) -> None:
    key, metadata, record = {
        FilterSource.SQS: ("body", "messageId", {"body": payload, "messageId": "1"}),
        FilterSource.KINESIS: (
            "data",
            "partitionKey",
            {"kinesis": {"data": base64_of(payload), "partitionKey": "1"}, "eventID": "s:1"},
        ),
        FilterSource.KAFKA: ("value", "topic", {"value": base64_of(payload), "topic": "1"}),
        FilterSource.MQ: ("data", "messageID", {"data": base64_of(payload), "messageID": "1"}),
    }[source]
    asked = {} if pattern is None else {key: pattern}
    assert passes({**asked, metadata: ["1"]}, record, source) is is_passed
    assert not passes({**asked, metadata: ["2"]}, record, source)


def test_a_kafka_key_is_seen_as_its_value_is() -> None:
    record = {"key": base64_of("k-1"), "value": base64_of('{"a": 1}')}
    assert passes({"key": [{"prefix": "k-"}], "value": {"a": [1]}}, record, FilterSource.KAFKA)
    assert not passes({"key": [{"prefix": "x-"}], "value": {"a": [1]}}, record, FilterSource.KAFKA)


def test_dynamodb_records_are_seen_in_their_own_json_where_numbers_are_text() -> None:
    record = {"eventName": "INSERT", "dynamodb": {"NewImage": {"Price": {"N": "15"}, "Tags": {"SS": ["a", "b"]}}}}
    price = {"dynamodb": {"NewImage": {"Price": {"N": [{"numeric": [">", 10, "<", 20]}]}}}}
    assert passes({"eventName": ["INSERT"], **price}, record, FilterSource.DYNAMODB)
    assert not passes({"eventName": ["REMOVE"], **price}, record, FilterSource.DYNAMODB)
    assert passes({"dynamodb": {"NewImage": {"Tags": {"SS": ["b"]}}}}, record, FilterSource.DYNAMODB)
    assert passes({"dynamodb": {"NewImage": {"Price": {"N": ["15"]}}}}, record, FilterSource.DYNAMODB)
    assert not passes(
        {"dynamodb": {"NewImage": {"Price": {"N": [{"numeric": ["=", 16]}]}}}}, record, FilterSource.DYNAMODB
    )


@pytest.mark.parametrize(("source", "key"), [(FilterSource.KINESIS, "data"), (FilterSource.DYNAMODB, "dynamodb")])
def test_a_text_pattern_for_what_must_be_json_is_refused(source: FilterSource, key: str) -> None:
    with pytest.raises(InvalidPattern):
        compile_filter([json.dumps({key: ["text"]})], source)


# A naive evaluator, by another road: the record is flattened to paths and values, the pattern multiplied out to ANDs of
# leaves, and values are tried in every combination that stays within the same elements of lists.

Place = dict[tuple[object, ...], int]
Flat = list[tuple[tuple[str, ...], Any, Place]]


def flattened(
    value: Any, path: tuple[str, ...] = (), where: tuple[object, ...] = (), place: Place | None = None
) -> Flat:
    place = place or {}
    if isinstance(value, dict):
        return [one for key, below in value.items() for one in flattened(below, (*path, key), (*where, key), place)]
    if isinstance(value, list):
        elements = enumerate(value)
        return [one for i, below in elements for one in flattened(below, path, (*where, i), {**place, where: i})]
    return [(path, value, place)]


Leaves = list[tuple[tuple[str, ...], list[Any]]]


def multiplied_out(pattern: dict[str, Any], path: tuple[str, ...] = ()) -> list[Leaves]:
    alternatives: list[Leaves] = [[]]
    for key, below in pattern.items():
        if key == "$or":
            options = [one for branch in below for one in multiplied_out(branch, path)]
        elif isinstance(below, dict):
            options = multiplied_out(below, (*path, key))
        else:
            options = [[((*path, key), below)]]
        alternatives = [left + right for left in alternatives for right in options]
    return alternatives


def holds(rule: Any, value: Any) -> bool:
    if not isinstance(rule, dict):
        return (type(rule) is type(value) and rule == value) or (is_number(rule) and is_number(value) and rule == value)
    ((operator, operand),) = rule.items()
    if operator == "exists":
        return bool(operand)
    if operator == "numeric":
        signs = {"=": "==", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
        pairs = zip(operand[::2], operand[1::2], strict=True)
        return is_number(value) and all(eval(f"{value!r} {signs[sign]} {bound!r}") for sign, bound in pairs)
    if operator == "anything-but":
        if isinstance(operand, dict):
            return not holds(operand, value)
        return not any(holds(one, value) for one in (operand if isinstance(operand, list) else [operand]))
    if not isinstance(value, str):
        return False
    if isinstance(operand, dict):
        return holds({operator: operand["equals-ignore-case"].upper()}, value.upper())
    starts_or_ends = {"prefix": value[: len(operand)], "suffix": value[max(0, len(value) - len(operand)) :]}
    return starts_or_ends[operator] == operand if operator in starts_or_ends else value.upper() == operand.upper()


def is_number(value: Any) -> bool:
    return type(value) in (int, float)


def choices(leaf: tuple[tuple[str, ...], list[Any]], flat: Flat) -> Iterator[Place]:
    path, rules = leaf
    values = [(value, place) for where, value, place in flat if where == path]
    if not values and {"exists": False} in rules:
        yield {}
    for value, place in values:
        if any(rule != {"exists": False} and holds(rule, value) for rule in rules):
            yield place


def satisfiable(leaves: Leaves, flat: Flat, place: Place) -> bool:
    if not leaves:
        return True
    for chosen in choices(leaves[0], flat):
        if all(place.get(array, i) == i for array, i in chosen.items()) and satisfiable(
            leaves[1:], flat, {**place, **chosen}
        ):
            return True
    return False


def naively_matches(pattern: dict[str, Any], record: dict[str, Any]) -> bool:
    flat = flattened(record)
    return any(satisfiable(leaves, flat, {}) for leaves in multiplied_out(pattern))


TEXTS = st.sampled_from(["", "a", "A", "ab", "ba", "aba"])
NUMBERS = st.sampled_from([-1, 0, 1, 1.0, 1.5, 2])
SCALARS = TEXTS | NUMBERS | st.booleans() | st.none()
KEYS = st.sampled_from(["a", "b"])
RULES = st.one_of(
    SCALARS,
    st.fixed_dictionaries({"exists": st.booleans()}),
    st.fixed_dictionaries({"prefix": TEXTS | st.fixed_dictionaries({"equals-ignore-case": TEXTS})}),
    st.fixed_dictionaries({"suffix": TEXTS | st.fixed_dictionaries({"equals-ignore-case": TEXTS})}),
    st.fixed_dictionaries({"equals-ignore-case": TEXTS}),
    st.fixed_dictionaries(
        {"anything-but": TEXTS | NUMBERS | st.lists(TEXTS, min_size=1) | st.lists(NUMBERS, min_size=1)}
    ),
    st.fixed_dictionaries({"anything-but": st.fixed_dictionaries({"prefix": st.just("a")})}),
    st.fixed_dictionaries({"numeric": st.tuples(st.sampled_from(["=", "<", "<=", ">", ">="]), NUMBERS).map(list)}),
    st.just({"numeric": [">=", 0, "<", 2]}),
)
LEAVES = st.lists(RULES, min_size=1, max_size=3)
OBJECTS = st.recursive(
    st.dictionaries(KEYS, LEAVES, min_size=1, max_size=3),
    lambda below: st.dictionaries(KEYS, LEAVES | below, min_size=1, max_size=3),
    max_leaves=4,
)
# The keys of the branches are their own: two leaves about one key are tied to one element in one evaluator only.
BRANCHES = st.dictionaries(st.sampled_from(["d", "e"]), LEAVES, min_size=1, max_size=2)
PATTERNS = OBJECTS | st.builds(
    lambda pattern, branches: {**pattern, "$or": branches}, OBJECTS, st.lists(BRANCHES, min_size=2, max_size=3)
)
VALUES = st.recursive(
    SCALARS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(KEYS, below, max_size=3),
    max_leaves=8,
)
RECORDS = st.dictionaries(st.sampled_from(["a", "b", "d", "e"]), VALUES, min_size=1, max_size=4)


@given(PATTERNS, RECORDS)
def test_patterns_match_as_the_naive_evaluator_says(pattern: dict[str, Any], record: dict[str, Any]) -> None:
    assert compile_object(pattern)(record, record) is naively_matches(pattern, record)


@given(
    st.text(max_size=60) | st.recursive(SCALARS, lambda one: st.lists(one) | st.dictionaries(KEYS, one)).map(json.dumps)
)
def test_any_text_is_a_pattern_or_refused(pattern: str) -> None:
    try:
        compile_filter([pattern], FilterSource.SQS)({"a": 1})
    except InvalidPattern:
        pass
