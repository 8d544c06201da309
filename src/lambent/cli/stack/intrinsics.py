"""CloudFormation's intrinsic functions and conditions, on values that are known. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any  # Any: what a template holds

from lambent.cli.failure import ExitStatus, Failure

_VARIABLE = re.compile(r"\$\{(!?)([^}]+)\}")


class _NoValue:
    """What `AWS::NoValue` becomes: whatever holds it is left out."""


NO_VALUE = _NoValue()


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A resource that exists: what `Ref` and `Fn::GetAtt` answer for it."""

    ref: str
    attributes: Mapping[str, str] = field(default_factory=dict)


class Scope:
    """What the names of a template stand for. `made` grows while resources are deployed."""

    def __init__(self, template: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        self.made: dict[str, Made] = {}
        self._conditions: Mapping[str, Any] = template.get("Conditions", {})
        self._mappings: Mapping[str, Any] = template.get("Mappings", {})
        self._values = {"AWS::NoValue": NO_VALUE, **values}

    def resolve(self, value: Any) -> Any:
        """The value with every intrinsic function performed.

        Raises:
            Failure: a name stands for nothing, or a function is not known.
        """
        if isinstance(value, list):
            return [one for one in map(self.resolve, value) if one is not NO_VALUE]
        if not isinstance(value, dict):
            return value
        if (call := function_of(value)) is not None:
            perform = _FUNCTIONS.get(call[0])
            if perform is None:
                raise _broken(f"{call[0]} is not supported")
            return perform(self, call[1])
        resolved = {name: self.resolve(member) for name, member in value.items()}
        return {name: member for name, member in resolved.items() if member is not NO_VALUE}

    def holds(self, condition: str) -> bool:
        """Whether a condition of the template holds."""
        if condition not in self._conditions:
            raise _broken(f"there is no condition {condition}")
        return bool(self.resolve(self._conditions[condition]))

    def ref(self, name: str) -> Any:
        if name in self._values:
            return self._values[name]
        if name in self.made:
            return self.made[name].ref
        raise _broken(f"{name} is neither a parameter nor a resource that is deployed")

    def attribute(self, name: str, attribute: str) -> str:
        if name not in self.made:
            raise _broken(f"{name} is no resource that is deployed")
        if attribute not in self.made[name].attributes:
            raise _broken(f"{name} has no attribute {attribute}")
        return self.made[name].attributes[attribute]

    def text(self, value: Any) -> str:
        resolved = self.resolve(value)
        if isinstance(resolved, list | dict) or resolved is NO_VALUE:
            raise _broken(f"a text is wanted, not {resolved!r}")
        return str(resolved).lower() if isinstance(resolved, bool) else str(resolved)

    def sequence(self, value: Any) -> Sequence[Any]:
        resolved = self.resolve(value)
        if not isinstance(resolved, list):
            raise _broken(f"a list is wanted, not {resolved!r}")
        return resolved

    def mapped(self, arguments: Any) -> Any:
        name, first, second = (self.text(argument) for argument in arguments)
        try:
            return self._mappings[name][first][second]
        except KeyError:
            raise _broken(f"the mapping {name} has no value for {first}, {second}") from None

    def substitute(self, arguments: Any) -> str:
        pattern, extra = (arguments, {}) if isinstance(arguments, str) else arguments
        own = {name: self.text(value) for name, value in extra.items()}

        def replace(match: re.Match[str]) -> str:
            literal, name = match[1], match[2].strip()
            if literal:
                return f"${{{match[2]}}}"
            if name in own:
                return own[name]
            resource, _, attribute = name.partition(".")
            return self.text(self.attribute(resource, attribute) if attribute else self.ref(name))

        return _VARIABLE.sub(replace, pattern)


def function_of(value: Mapping[str, Any]) -> tuple[str, Any] | None:
    """The intrinsic function that a structure stands for, with its argument."""
    if len(value) != 1:
        return None
    name, argument = next(iter(value.items()))
    is_function = name in ("Ref", "Condition") or name.startswith("Fn::")
    return (name, argument) if is_function and not (name == "Condition" and not isinstance(argument, str)) else None


def references(value: Any) -> Iterator[str]:
    """The names of parameters and resources that a value mentions."""
    if isinstance(value, list):
        for one in value:
            yield from references(one)
    elif isinstance(value, dict):
        match function_of(value):
            case ("Ref", str(name)):
                yield name
            case ("Fn::GetAtt", argument):
                yield _attribute_of(argument)[0]
            case ("Fn::Sub", argument):
                pattern, extra = (argument, {}) if isinstance(argument, str) else argument
                names = (match[2].strip() for match in _VARIABLE.finditer(pattern) if not match[1])
                yield from (name.partition(".")[0] for name in names if name not in extra)
                yield from references(extra)
            case _:
                for member in value.values():
                    yield from references(member)


def _attribute_of(argument: Any) -> tuple[str, str]:
    name, attribute = argument.split(".", 1) if isinstance(argument, str) else argument
    return name, attribute


def _select(scope: Scope, arguments: Any) -> Any:
    index, values = int(scope.text(arguments[0])), scope.sequence(arguments[1])
    if not 0 <= index < len(values):
        raise _broken(f"Fn::Select asks for element {index} of {len(values)}")
    return values[index]


def _condition(scope: Scope, argument: Any) -> bool:
    return scope.holds(argument)


_FUNCTIONS: Mapping[str, Callable[[Scope, Any], Any]] = {
    "Ref": lambda scope, name: scope.ref(name),
    "Condition": _condition,
    "Fn::GetAtt": lambda scope, argument: scope.attribute(*_attribute_of(argument)),
    "Fn::Sub": lambda scope, arguments: scope.substitute(arguments),
    "Fn::Join": lambda scope, arguments: arguments[0].join(map(scope.text, scope.sequence(arguments[1]))),
    "Fn::Select": _select,
    "Fn::Split": lambda scope, arguments: scope.text(arguments[1]).split(arguments[0]),
    "Fn::Base64": lambda scope, argument: base64.b64encode(scope.text(argument).encode()).decode(),
    "Fn::FindInMap": lambda scope, arguments: scope.mapped(arguments),
    "Fn::If": lambda scope, arguments: scope.resolve(arguments[1] if scope.holds(arguments[0]) else arguments[2]),
    "Fn::Equals": lambda scope, arguments: scope.text(arguments[0]) == scope.text(arguments[1]),
    "Fn::Not": lambda scope, arguments: not scope.resolve(arguments[0]),
    "Fn::And": lambda scope, arguments: all(scope.resolve(one) for one in arguments),
    "Fn::Or": lambda scope, arguments: any(scope.resolve(one) for one in arguments),
}


def _broken(reason: str) -> Failure:
    return Failure(f"The template cannot be deployed: {reason}.", status=ExitStatus.USAGE)
