"""A template's parameters: what was given for them, their defaults, and what may be given. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any  # Any: what a template holds

from lambent.cli.failure import ExitStatus, Failure

_LISTS = ("CommaDelimitedList", "List<Number>", "List<String>")


def given_parameters(pairs: Iterable[str]) -> Mapping[str, str]:
    """KEY=VALUE pairs as a mapping."""
    given = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not key or not separator:
            raise Failure(f"--parameter must be KEY=VALUE, found {pair!r}", status=ExitStatus.USAGE)
        given[key] = value
    return given


def parameter_values(template: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, Any]:
    """The value of every parameter, lists as lists.

    Raises:
        Failure: one has no value, or one that is not allowed; or something was given that is no parameter.
    """
    declared: Mapping[str, Any] = template.get("Parameters", {})
    if unknown := [name for name in given if name not in declared]:
        raise _failure(f"The template has no parameter {', '.join(unknown)}")
    values: dict[str, Any] = {}
    for name, parameter in declared.items():
        if name not in given and "Default" not in parameter:
            raise _failure(f"The parameter {name} has no default", hint=f"Give it with --parameter {name}=VALUE")
        values[name] = _value(name, parameter, str(given.get(name, parameter.get("Default"))))
    return values


def _value(name: str, parameter: Mapping[str, Any], text: str) -> Any:
    kind = parameter.get("Type", "String")
    if kind.startswith("AWS::SSM::"):
        raise _failure(f"The parameter {name} is read from the SSM parameter store, which Lambent has not")
    values = [one.strip() for one in text.split(",")] if kind in _LISTS else [text]
    allowed = [str(one) for one in parameter.get("AllowedValues", ())]
    for value in values:
        if allowed and value not in allowed:
            raise _failure(f"The parameter {name} must be one of {', '.join(allowed)}, not {value!r}")
        if "Number" in kind and not _is_number(value):
            raise _failure(f"The parameter {name} must be a number, not {value!r}")
    return values if kind in _LISTS else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _failure(message: str, hint: str | None = None) -> Failure:
    return Failure(f"{message}.", status=ExitStatus.USAGE, hint=hint)
