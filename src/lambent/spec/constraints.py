"""The service model's constraints, compiled into checks that speak AWS's words (reference/api.md §1.1).

A scalar, list or map has *rules*, each with its phrase; below lists and maps of structures the check descends, so that
a violation names its own path (`tags.1.member.key`).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any  # botocore's shapes carry no types, and wire values are of any type until checked here

from lambent.model.errors import ValidationError

Shape = Any
Check = Callable[[Any, str, list[str]], None]
"""Takes a value, the path in front of it and the list of violations to add to."""

UNCHECKED: Mapping[tuple[str, str], frozenset[str]] = {
    # Names are resolved, and refused, by model/arn.py, which also knows AWS's longer pattern text.
    ("*", "FunctionName"): frozenset({"pattern"}),
    # AWS answers unknown runtimes in the service itself, with InvalidParameterValueException.
    ("CreateFunction", "Runtime"): frozenset({"enum"}),
    ("UpdateFunctionConfiguration", "Runtime"): frozenset({"enum"}),
}
"""Constraints of lambda's (operation, member) that are left to whoever answers the operation."""

NOT_NULL = "Member must not be null"


@dataclass(frozen=True, slots=True)
class Rule:
    phrase: str
    holds: Callable[[Any], bool]


def compile_request_check(operation: str, shape: Shape) -> Callable[[Mapping[str, Any]], None]:
    """A check of all of an operation's parameters at once, which raises ValidationError."""

    def unchecked(member: str) -> frozenset[str]:
        return UNCHECKED.get(("*", member), frozenset()) | UNCHECKED.get((operation, member), frozenset())

    check = Checks().structure(shape, unchecked)

    def check_request(parameters: Mapping[str, Any]) -> None:
        violations: list[str] = []
        check(parameters, "", violations)
        if violations:
            count = len(violations)
            noun = "error" if count == 1 else "errors"
            raise ValidationError(f"{count} validation {noun} detected: {'; '.join(violations)}")

    return check_request


class Checks:
    """Compiles shapes to checks; one instance knows the structures it has met, because models are recursive."""

    def __init__(self) -> None:
        self._structures: dict[str, Check] = {}

    def structure(self, shape: Shape, unchecked: Callable[[str], frozenset[str]] = lambda _: frozenset()) -> Check:
        """The path given to this check ends in a dot, or is empty."""
        members = [
            (name, lower_first(name), name in shape.required_members, self._value(member, unchecked(name)))
            for name, member in shape.members.items()
        ]
        members = [member for member in members if member[2] or member[3]]

        def check(value: Any, path: str, violations: list[str]) -> None:
            get = value.get
            for name, field, is_required, check_member in members:
                member = get(name)
                if member is not None:
                    if check_member:
                        check_member(member, path + field, violations)
                elif is_required:
                    violations.append(f"Value null at '{path}{field}' failed to satisfy constraint: {NOT_NULL}")

        return check

    def _value(self, shape: Shape, unchecked: frozenset[str] = frozenset()) -> Check | None:
        rules = rules_of(shape, unchecked)
        descend = self._below(shape)
        if not rules:
            return descend
        is_secret = is_sensitive(shape)

        def check(value: Any, path: str, violations: list[str]) -> None:
            for rule in rules:
                if not rule.holds(value):
                    shown = "" if is_secret else f" '{as_java_shows(value)}'"
                    violations.append(f"Value{shown} at '{path}' failed to satisfy constraint: {rule.phrase}")
            if descend:
                descend(value, path, violations)

        return check

    def _below(self, shape: Shape) -> Check | None:
        """The check of the structures inside a value."""
        match shape.type_name:
            case "structure":
                return self._nested_structure(shape)
            case "list":
                return _each(self._below(shape.member), lambda value: enumerate(value, 1))
            case "map":
                return _each(self._below(shape.value), dict.items)
        return None

    def _nested_structure(self, shape: Shape) -> Check:
        if shape.name not in self._structures:
            # A structure may hold itself: the first visit leaves a door that opens once the check is compiled.
            self._structures[shape.name] = lambda *call: self._structures[shape.name](*call)
            check = self.structure(shape)
            self._structures[shape.name] = lambda value, path, violations: check(value, path + ".", violations)
        return self._structures[shape.name]


def _each(check: Check | None, items: Callable[[Any], Iterable[tuple[object, Any]]]) -> Check | None:
    if check is None:
        return None

    def check_each(value: Any, path: str, violations: list[str]) -> None:
        for key, element in items(value):
            where = f"{path}.{key}.member"
            if element is None:
                violations.append(f"Value null at '{where}' failed to satisfy constraint: {NOT_NULL}")
            else:
                check(element, where, violations)

    return check_each


def rules_of(shape: Shape, unchecked: frozenset[str] = frozenset()) -> list[Rule]:
    """The rules of one value itself, in the order in which AWS lists them."""
    traits = {trait: bound for trait, bound in shape.metadata.items() if trait not in unchecked}
    rules = _number_rules(shape, traits) if shape.type_name in _NUMBERS else _length_rules(traits)
    if "pattern" in traits:
        rules.append(_pattern_rule(traits["pattern"]))
    if "enum" in traits:
        allowed = frozenset(traits["enum"])
        rules.append(Rule(f"Member must satisfy enum value set: [{', '.join(traits['enum'])}]", allowed.__contains__))
    match shape.type_name:
        case "list":
            rules += _element_rules("Member must satisfy constraint", shape.member, lambda value: value)
        case "map":
            rules += _element_rules("Map keys must satisfy constraint", shape.key, dict.keys)
            rules += _element_rules("Map value must satisfy constraint", shape.value, dict.values)
    return rules


def _element_rules(phrase: str, shape: Shape, elements: Callable[[Any], Iterable[Any]]) -> list[Rule]:
    if shape.type_name == "structure":
        return []
    rules = rules_of(shape)

    def holds(value: Any) -> bool:
        return all(element is not None and all(rule.holds(element) for rule in rules) for element in elements(value))

    phrases = [rule.phrase for rule in rules] + [NOT_NULL]
    return [Rule(f"{phrase}: [{', '.join(phrases)}]", holds)]


_NUMBERS = frozenset({"integer", "long", "float", "double"})


def _number_rules(shape: Shape, traits: Mapping[str, Any]) -> list[Rule]:
    number = float if shape.type_name in ("float", "double") else int
    rules = []
    if (maximum := traits.get("max")) is not None:
        phrase = f"Member must have value less than or equal to {number(maximum)}"
        rules.append(Rule(phrase, lambda value: value <= maximum))
    if (minimum := traits.get("min")) is not None:
        phrase = f"Member must have value greater than or equal to {number(minimum)}"
        rules.append(Rule(phrase, lambda value: value >= minimum))
    return rules


def _length_rules(traits: Mapping[str, Any]) -> list[Rule]:
    rules = []
    if (maximum := traits.get("max")) is not None:
        phrase = f"Member must have length less than or equal to {maximum}"
        rules.append(Rule(phrase, lambda value: len(value) <= maximum))
    if (minimum := traits.get("min")) is not None:
        phrase = f"Member must have length greater than or equal to {minimum}"
        rules.append(Rule(phrase, lambda value: len(value) >= minimum))
    return rules


def _pattern_rule(pattern: str) -> Rule:
    def holds(value: str) -> bool:
        return java_pattern(pattern).fullmatch(value) is not None

    return Rule(f"Member must satisfy regular expression pattern: {pattern}", holds)


_JAVA_CLASSES = {
    # Every model class that names letters also names digits and '_': together they are Python's \w.
    r"\p{L}": r"\w",
    r"\p{N}": r"\d",
    r"\p{Z}": r" \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000",
    r"[\w-": r"[\w\-",
}


@functools.cache
def java_pattern(pattern: str) -> re.Pattern[str]:
    """The models' patterns are Java's; compiled on first use, for a service has hundreds."""
    flags = 0 if r"\p{" in pattern else re.ASCII  # Java's \d, \s and \w know no other letters and digits
    for java, python in _JAVA_CLASSES.items():
        pattern = pattern.replace(java, python)
    return re.compile(pattern, flags)


def is_sensitive(shape: Shape) -> bool:
    """AWS does not echo such a value, nor a list or map that holds one."""
    parts = {"list": ("member",), "map": ("key", "value")}.get(shape.type_name, ())
    return "sensitive" in shape.metadata or any(is_sensitive(getattr(shape, part)) for part in parts)


def lower_first(name: str) -> str:
    return name[:1].lower() + name[1:]


def as_java_shows(value: Any) -> str:
    """A value as AWS's Java prints it: `true`, `[a, b]`, `{k=v}`."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case bytes():
            return f"java.nio.HeapByteBuffer[pos=0 lim={len(value)} cap={len(value)}]"
        case list():
            return f"[{', '.join(map(as_java_shows, value))}]"
        case dict():
            return "{" + ", ".join(f"{key}={as_java_shows(element)}" for key, element in value.items()) + "}"
    return str(value)
