"""Filter patterns: terms against a naive reading of the rules, JSON patterns by AWS's documented examples."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.logs.errors import InvalidParameter
from lambent.logs.filter_pattern import compile_filter_pattern
from lambent.logs.json_pattern import NESTING_MAXIMUM
from lambent.model.errors import NotImplementedByLambent

EVENT = json.dumps(
    {
        "eventType": "UpdateTrail",
        "sourceIPAddress": "111.111.111.111",
        "arrayKey": ["value", "another value"],
        "objectList": [{"name": "a", "id": 1}, {"name": "b", "id": 2}],
        "coordinates": [[0, 1, 2], [4, 5, 6]],
        "user": {"id": 1, "email": "John.Stiles@example.com"},
        "SomeObject": None,
        "ThisFlag": True,
        "ThatFlag": False,
        "latency": 501.5,
        "count": "12",
        "starred": "Ev*ent",
        "dotted.name": "x",
    }
)


def matches(pattern: str, message: str) -> bool:
    return compile_filter_pattern(pattern)(message)


@pytest.mark.parametrize("pattern", ["", "   ", "\n"])
def test_an_empty_pattern_matches_everything(pattern: str) -> None:
    assert matches(pattern, "anything")
    assert matches(pattern, "")


@pytest.mark.parametrize(
    ("pattern", "message", "expected"),
    [
        ("ERROR", "[ERROR] A fatal exception", True),
        ("ERROR", "Exiting with ERRORCODE: -1", True),
        ("ERROR", "error", False),
        ("ERROR Exception", "[ERROR] Unhandled Exception", True),
        ("ERROR Exception", "[ERROR] Unhandled", False),
        ("ERROR -Exiting", "Exiting with ERRORCODE: -1", False),
        ('ERROR -"Exiting with"', "ERROR. Exiting at once", True),
        ("?ERROR ?WARN", "WARN message", True),
        ("?ERROR ?WARN", "INFO message", False),
        ("?ERROR ?WARN -INFO", "WARN and INFO", False),
        ("ERROR ?WARN", "ERROR message", True),
        ("ERROR ?WARN", "WARN message", False),
        ('"Task timed out"', "x Task timed out after 3.00 seconds", True),
        ('"Task timed out"', "Task was timed out", False),
        (r'"say \"hi\" \\"', r'they say "hi" \ there', True),
        ('?"a b" ?"c d"', "c d", True),
        ("Zähler_1", "Zähler_12", True),
    ],
)
def test_terms_select_as_documented(pattern: str, message: str, expected: bool) -> None:
    assert matches(pattern, message) is expected


words = st.text("abA_", min_size=1, max_size=3)
signed_words = st.tuples(st.sampled_from(["", "?", "-"]), words, st.booleans())


@given(terms=st.lists(signed_words, max_size=5), message=st.text("abA_ ", max_size=12))
def test_terms_agree_with_a_naive_reading(terms: list[tuple[str, str, bool]], message: str) -> None:
    pattern = "  ".join(f'{sign}"{word}"' if quoted else sign + word for sign, word, quoted in terms)
    present = {(sign, word): word in message for sign, word, _ in terms}
    required = [found for (sign, _), found in present.items() if sign == ""]
    optional = [found for (sign, _), found in present.items() if sign == "?"]
    excluded = [found for (sign, _), found in present.items() if sign == "-"]
    expected = not any(excluded) and all(required) and (bool(required) or not optional or any(optional))
    assert matches(pattern, message) is expected


@pytest.mark.parametrize(
    "pattern",
    [
        '{ $.eventType = "UpdateTrail" }',
        "{$.eventType=UpdateTrail}",
        "{ $.eventType = Update* }",
        "{ $.eventType = *Trail }",
        "{ $.eventType = *ateTr* }",
        "{ $.eventType = * }",
        "{ $.starred = Ev*ent }",
        "{ $.sourceIPAddress != 123.123.* }",
        '{ $.arrayKey[0] = "value" }',
        "{ $.objectList[1].id = 2 }",
        "{ $.coordinates[1][2] = 6 }",
        "{ $.SomeObject IS NULL }",
        "{ $.SomeOtherObject NOT EXISTS }",
        "{ $.SomeObject EXISTS }",
        "{ $.ThisFlag IS TRUE }",
        "{ $.ThatFlag IS FALSE }",
        "{ $.latency > 500 && $.latency < 10e3 && $.latency >= 501.5 && $.latency <= +501.5 }",
        "{ $.user.id = 1.0 }",
        "{ $.user.id > -1 }",
        "{ $.count = 12 }",
        "{ $.['dotted.name'] = x }",
        '{ $["dotted.name"] = x }',
        '{ ($.user.id = 1) && ($.arrayKey[1] = "another value") }',
        '{ $.user.email = "John.Stiles@example.com" || $.coordinates[0][1] = nonmatch && $.actions[2] = nomatch }',
    ],
)
def test_a_json_pattern_matches(pattern: str) -> None:
    assert matches(pattern, EVENT)
    assert matches(pattern, f"  {EVENT}\n")


@pytest.mark.parametrize(
    "pattern",
    [
        "{ $.eventType = Trail }",
        "{ $.eventType = Up*Trail }",
        "{ $.eventType != UpdateTrail }",
        "{ $.arrayKey = value }",
        "{ $.arrayKey != value }",
        "{ $.absent != value }",
        "{ $.SomeObject != value }",
        "{ $.ThisFlag = 1 }",
        "{ $.ThisFlag != 1 }",
        "{ $.ThisFlag > 0 }",
        "{ $.arrayKey[2] EXISTS }",
        "{ $.arrayKey.name EXISTS }",
        "{ $.user[0] EXISTS }",
        "{ $.ThisFlag IS FALSE }",
        "{ $.absent IS NULL }",
        "{ $.count > 1 }",
        '{ ($.user.email = "John.Stiles@example.com" || $.coordinates[0][1] = x) && $.actions[2] = x }',
    ],
)
def test_a_json_pattern_does_not_match(pattern: str) -> None:
    assert not matches(pattern, EVENT)


def test_a_message_nested_too_deeply_to_be_read_does_not_match() -> None:
    assert not matches("{ $.a EXISTS }", '{"a":' * 100_000)


@pytest.mark.parametrize("message", ["", "not json", '{"a": 1', '[{"a": 1}]', 'INFO {"a": 1}', '{"a": 1} trailing'])
def test_a_message_that_is_no_json_object_never_matches_a_json_pattern(message: str) -> None:
    assert not matches("{ $.a = 1 || $.a NOT EXISTS }", message)


@pytest.mark.parametrize(
    "pattern",
    [
        "email@example.com",
        "foo-bar",
        '"open',
        '""',
        "-",
        "?",
        '"a"b',
        "{ }",
        "{}",
        "{ $.a }",
        "{ $.a = }",
        "{ $.a = 1",
        "{ $.a == 1 }",
        "{ a = 1 }",
        "{ $.a = 1 && }",
        "{ $.a = 1 $.b = 2 }",
        "{ ($.a = 1 }",
        "{ $.a = 1) }",
        "{ $.a > text }",
        '{ $.a > "1" }',
        "{ $.a IS MAYBE }",
        "{ $.a NOT NULL }",
        "{ $ = 1 }",
        "{ $.a[x] = 1 }",
        "{" + "(" * (NESTING_MAXIMUM + 1) + "$.a = 1" + ")" * (NESTING_MAXIMUM + 1) + "}",
    ],
)
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidParameter, match="Invalid filter pattern"):
        compile_filter_pattern(pattern)


def test_deep_nesting_within_the_limit_is_accepted() -> None:
    assert matches("{" + "(" * NESTING_MAXIMUM + "$.user.id = 1" + ")" * NESTING_MAXIMUM + "}", EVENT)


@pytest.mark.parametrize("pattern", ["[ip, user, status=4*]", "%ab+c%", "{ $.a = %ab+c% }"])
def test_kinds_of_patterns_not_built_are_refused_by_name(pattern: str) -> None:
    with pytest.raises(NotImplementedByLambent, match="does not support"):
        compile_filter_pattern(pattern)


@given(st.text('{}[]()$.ab01"\\*?-%&|=<>! ', max_size=40))
def test_any_text_is_a_pattern_or_is_refused(pattern: str) -> None:
    try:
        compile_filter_pattern(pattern)(EVENT)
    except (InvalidParameter, NotImplementedByLambent):
        pass


@given(st.text('$.ab[]01"*&|=<>!() ', max_size=40))
def test_any_json_expression_is_a_pattern_or_is_refused(expression: str) -> None:
    try:
        compile_filter_pattern("{" + expression + "}")(EVENT)
    except (InvalidParameter, NotImplementedByLambent):
        pass
