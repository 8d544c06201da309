"""The rules of a leaf: the list behind a key, of which one must hold for the value, `["a", {"prefix": "b"}]`.

Rules see scalars only. Numbers are equal by value (300 and 3.0e2), strings character by character; a boolean is no
number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import eq, ge, gt, le, lt
from typing import Any  # operators compare anything

Scalar = str | int | float | bool | None
Test = Callable[[object], bool]

NUMBER_MAXIMUM = 5e9
"""AWS compares numbers between -5e9 and 5e9."""


class InvalidPattern(Exception):
    """It is not one that AWS would take; the text says why, for a log: AWS itself does not."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """What a list of rules asks for: a value that passes `test`, or (`{"exists": false}`) that there is none."""

    test: Test
    allows_absence: bool


def compile_leaf(rules: Sequence[object], *, is_number_text: bool) -> Leaf:
    """`is_number_text`: numbers come as text, as in DynamoDB's `{"N": "1.5"}`, and `numeric` is to read them."""
    if not rules:
        raise InvalidPattern("an empty list of rules matches nothing")
    literals = [rule for rule in rules if _is_scalar(rule)]
    tests = [_equals_one_of(literals)] if literals else []
    allows_absence = False
    for rule in rules:
        if _is_scalar(rule):
            continue
        name, operand = _operator(rule)
        if name == "exists":
            if not isinstance(operand, bool):
                raise InvalidPattern("exists is true or false")
            allows_absence |= not operand
            tests += [_anything] if operand else []
        elif name == "numeric":
            tests.append(_numeric(operand, is_number_text=is_number_text))
        elif name in _OPERATORS:
            tests.append(_OPERATORS[name](operand))
        else:
            raise InvalidPattern(f"{name} is no operator")
    return Leaf(_any_of(tests), allows_absence)


def _is_scalar(rule: object) -> bool:
    return rule is None or isinstance(rule, str | int | float)


def _operator(rule: object) -> tuple[str, object]:
    if not isinstance(rule, Mapping) or len(rule) != 1:
        raise InvalidPattern("a rule is a value or an object with one operator")
    return next(iter(rule.items()))


def _any_of(tests: Sequence[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]
    return lambda value: any(test(value) for test in tests)


def _anything(_: object) -> bool:
    return True


def _equals_one_of(literals: Iterable[object]) -> Test:
    # For Python True is 1, so booleans have a set of their own.
    literals = tuple(literals)
    booleans = frozenset(one for one in literals if isinstance(one, bool))
    others = frozenset(one for one in literals if not isinstance(one, bool))
    return lambda value: value in (booleans if value is True or value is False else others)


def _prefix(operand: object) -> Test:
    ignored = _ignoring_case(operand)
    if ignored is not None:
        return lambda value: isinstance(value, str) and value.lower().startswith(ignored)
    prefix = _string(operand)
    return lambda value: isinstance(value, str) and value.startswith(prefix)


def _suffix(operand: object) -> Test:
    ignored = _ignoring_case(operand)
    if ignored is not None:
        return lambda value: isinstance(value, str) and value.lower().endswith(ignored)
    suffix = _string(operand)
    return lambda value: isinstance(value, str) and value.endswith(suffix)


def _equals_ignore_case(operand: object) -> Test:
    wanted = _string(operand).lower()
    return lambda value: isinstance(value, str) and value.lower() == wanted


def _anything_but(operand: object) -> Test:
    if isinstance(operand, Mapping):
        name, inner = _operator(operand)
        if name not in _EXCLUDABLE:
            raise InvalidPattern(f"anything-but cannot hold {name}")
        excluded = _any_of([_EXCLUDABLE[name](one) for one in _non_empty_strings(inner)])
    else:
        excluded = _equals_one_of(_alike(operand))
    return lambda value: not excluded(value)


def _alike(operand: object) -> Sequence[object]:
    """What anything-but lists: strings only, or numbers only."""
    values = operand if isinstance(operand, list) else [operand]
    are_strings = all(isinstance(value, str) for value in values)
    if not values or not (are_strings or all(_is_number(value) for value in values)):
        raise InvalidPattern("anything-but takes strings only or numbers only")
    return values


def _non_empty_strings(operand: object) -> Sequence[str]:
    values = [_string(value) for value in (operand if isinstance(operand, list) else [operand])]
    if not values or "" in values:
        raise InvalidPattern("anything-but takes texts that are not empty")
    return values


def _numeric(operand: object, *, is_number_text: bool) -> Test:
    if not isinstance(operand, list) or len(operand) not in (2, 4):
        raise InvalidPattern("numeric takes one comparison or two")
    bounds = list(zip(operand[::2], operand[1::2], strict=True))
    for name, bound in bounds:
        if name not in _COMPARISONS or not _is_number(bound) or abs(bound) > NUMBER_MAXIMUM:
            raise InvalidPattern("numeric compares by =, <, <=, > or >= with a number")
    if len(bounds) == 2:
        _require_range(bounds)
    comparisons = [(_COMPARISONS[name], bound) for name, bound in bounds]

    def test(value: object) -> bool:
        number = _read_number(value) if is_number_text else value
        return _is_number(number) and all(compare(number, bound) for compare, bound in comparisons)

    return test


def _require_range(bounds: Sequence[tuple[str, float]]) -> None:
    by_side = {name[0]: bound for name, bound in bounds}
    if by_side.keys() != {"<", ">"} or by_side[">"] >= by_side["<"]:
        raise InvalidPattern("two comparisons of numeric are the bounds of a range")


def _read_number(text: object) -> object:
    try:
        return float(text) if isinstance(text, str) else text
    except ValueError:
        return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _string(operand: object) -> str:
    if not isinstance(operand, str):
        raise InvalidPattern("a text was expected")
    return operand


def _ignoring_case(operand: object) -> str | None:
    """The text of `{"equals-ignore-case": text}`, in lower case; None if it is not of that form."""
    if not isinstance(operand, Mapping):
        return None
    name, text = _operator(operand)
    if name != "equals-ignore-case":
        raise InvalidPattern(f"prefix and suffix cannot hold {name}")
    return _string(text).lower()


_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {"=": eq, "<": lt, "<=": le, ">": gt, ">=": ge}
_OPERATORS: Mapping[str, Callable[[object], Test]] = {
    "prefix": _prefix,
    "suffix": _suffix,
    "equals-ignore-case": _equals_ignore_case,
    "anything-but": _anything_but,
}
_EXCLUDABLE: Mapping[str, Callable[[object], Test]] = {
    "prefix": _prefix,
    "suffix": _suffix,
    "equals-ignore-case": _equals_ignore_case,
}
