"""JSON filter patterns: `{ $.a.b[0] = "x*" && ($.n > 3 || $.m NOT EXISTS) }` over messages that are JSON objects.

A condition on a property that is absent, or is an array or object, is false whatever its operator; only NOT EXISTS and
IS NULL speak of those. A `*` in a value stands for any text at its start or end, and for itself elsewhere.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from lambent.logs.errors import InvalidParameter
from lambent.model.errors import NotImplementedByLambent

Value = object
"""What msgspec reads from JSON: dict, list, str, int, float, bool or None."""
Condition = Callable[[Value], bool]

NESTING_MAXIMUM = 32
_INVALID = "Invalid filter pattern"

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<selector>\$(?:\.[\w-]+|\.?\['[^']*'\]|\.?\["[^"]*"\]|\[\d+\])+)
    |(?P<symbol>&&|\|\||\(|\)|!=|<=|>=|=|<|>)
    |"(?P<quoted>(?:[^"\\]|\\.)*)"
    |(?P<word>[^\s"()&|=<>!]+)
    )""",
    re.VERBOSE | re.DOTALL,
)
_STEP = re.compile(r"""\.([\w-]+)|\.?\['([^']*)'\]|\.?\["([^"]*)"\]|\[(\d+)\]""")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_ORDER: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}
_ABSENT: Final = object()
_STATES: Mapping[tuple[str, str], Condition] = {
    ("IS", "NULL"): lambda value: value is None,
    ("IS", "TRUE"): lambda value: value is True,
    ("IS", "FALSE"): lambda value: value is False,
    ("NOT", "EXISTS"): lambda value: value is _ABSENT,
}


def compile_json_pattern(expression: str) -> Callable[[str], bool]:
    """Compile what stands between the braces.

    Raises:
        InvalidParameter: it is no expression, or is nested deeper than `NESTING_MAXIMUM`.
    """
    condition = _Parser(expression).parse()

    def matches(message: str) -> bool:
        if not message.lstrip().startswith("{"):
            return False
        try:
            return condition(msgspec.json.decode(message))
        except (msgspec.DecodeError, RecursionError):
            return False

    return matches


class _Parser:
    """Recursive descent over the tokens; `&&` binds closer than `||`."""

    def __init__(self, expression: str) -> None:
        self._tokens = _tokens(expression)
        self._next = 0
        self._depth = 0

    def parse(self) -> Condition:
        condition = self._any()
        if self._kind is not None:
            raise InvalidParameter(_INVALID)
        return condition

    @property
    def _kind(self) -> str | None:
        return self._tokens[self._next][0] if self._next < len(self._tokens) else None

    def _take(self, *kinds: str) -> str:
        if self._kind not in kinds:
            raise InvalidParameter(_INVALID)
        _, text = self._tokens[self._next]
        self._next += 1
        return text

    def _take_symbol(self, symbol: str) -> bool:
        if self._kind == "symbol" and self._tokens[self._next][1] == symbol:
            self._next += 1
            return True
        return False

    def _any(self) -> Condition:
        conditions = [self._all()]
        while self._take_symbol("||"):
            conditions.append(self._all())
        return conditions[0] if len(conditions) == 1 else lambda root: any(holds(root) for holds in conditions)

    def _all(self) -> Condition:
        conditions = [self._one()]
        while self._take_symbol("&&"):
            conditions.append(self._one())
        return conditions[0] if len(conditions) == 1 else lambda root: all(holds(root) for holds in conditions)

    def _one(self) -> Condition:
        if not self._take_symbol("("):
            return self._comparison()
        self._depth += 1
        if self._depth > NESTING_MAXIMUM:
            raise InvalidParameter(_INVALID)
        condition = self._any()
        if not self._take_symbol(")"):
            raise InvalidParameter(_INVALID)
        self._depth -= 1
        return condition

    def _comparison(self) -> Condition:
        steps = _steps(self._take("selector"))
        holds = self._state() if self._kind == "word" else self._relation()
        return lambda root: holds(_select(root, steps))

    def _state(self) -> Condition:
        first = self._take("word")
        if first == "EXISTS":
            return lambda value: value is not _ABSENT
        state = _STATES.get((first, self._take("word")))
        if state is None:
            raise InvalidParameter(_INVALID)
        return state

    def _relation(self) -> Condition:
        symbol = self._take("symbol")
        is_quoted = self._kind == "quoted"
        text = self._take("quoted", "word")
        if not is_quoted and text.startswith("%"):
            raise NotImplementedByLambent("Lambent does not support regular expressions (%...%) in filter patterns yet")
        number = float(text) if not is_quoted and _NUMBER.fullmatch(text) else None
        if symbol in _ORDER and number is not None:
            return _ordered(_ORDER[symbol], number)
        if symbol == "=":
            return _equal(text, number)
        if symbol == "!=":
            is_equal = _equal(text, number)
            return lambda value: _is_scalar(value) and not is_equal(value)
        raise InvalidParameter(_INVALID)


def _tokens(expression: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    position, end = 0, len(expression.rstrip())
    while position < end:
        match = _TOKEN.match(expression, position)
        if match is None or match.lastgroup is None:
            raise InvalidParameter(_INVALID)
        text = match[match.lastgroup]
        if match.lastgroup == "quoted":
            text = re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)
        tokens.append((match.lastgroup, text))
        position = match.end()
    return tokens


def _steps(selector: str) -> tuple[str | int, ...]:
    return tuple(
        int(match[4]) if match[4] else match[1] or match[2] or match[3] or "" for match in _STEP.finditer(selector[1:])
    )


def _select(root: Value, steps: tuple[str | int, ...]) -> Value:
    value = root
    for step in steps:
        match value:
            case dict() if step in value:
                value = value[step]
            case list() if isinstance(step, int) and step < len(value):
                value = value[step]
            case _:
                return _ABSENT
    return value


def _is_scalar(value: Value) -> bool:
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)


def _ordered(is_ordered: Callable[[float, float], bool], number: float) -> Condition:
    return lambda value: isinstance(value, (int, float)) and _is_scalar(value) and is_ordered(value, number)


def _equal(text: str, number: float | None) -> Condition:
    """Numbers are compared as numbers, everything else as text."""
    is_like = _like(text)

    def holds(value: Value) -> bool:
        if isinstance(value, str):
            return is_like(value)
        if not _is_scalar(value):
            return False
        return value == number if number is not None else is_like(str(value))

    return holds


def _like(text: str) -> Callable[[str], bool]:
    body = text.removeprefix("*").removesuffix("*")
    match (text.startswith("*"), text.endswith("*")):
        case (True, True):
            return lambda value: body in value
        case (True, False):
            return lambda value: value.endswith(body)
        case (False, True):
            return lambda value: value.startswith(body)
        case _:
            return lambda value: value == body
