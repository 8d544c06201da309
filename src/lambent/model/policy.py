"""Resource policies as they lie in a FunctionRecord, and the one question about them that needs no identities.

What identities are allowed, and how the two are weighed, is the policy engine's (reference/iam.md §5).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any  # Any: policies are JSON, written by callers

from lambent.model.arn import FunctionArn
from lambent.model.function import FunctionRecord

Statement = Mapping[str, Any]

POLICY_BYTES = 20_480


def policy_of(record: FunctionRecord, qualifier: str | None) -> str | None:
    """The document that guards a function, version or alias: each has its own."""
    return record.policies.get(qualifier or "")


def statements(document: str) -> list[Statement]:
    """In the order in which they were added."""
    found = json.loads(document)["Statement"]
    return found if isinstance(found, list) else [found]


def allows_anyone(document: str | None, *, action: str, resource: FunctionArn, facts: Mapping[str, str]) -> bool:
    """Whether a caller without any identity may do `action` (`lambda:InvokeFunctionUrl`).

    `facts` are the condition keys of the request, such as `lambda:FunctionUrlAuthType`. What is read here are `*`, and
    string and boolean conditions; a statement that says something else allows nothing and denies all.
    """
    about = [one for one in statements(document) if _is_about(one, action, str(resource))] if document else []
    denying = (one for one in about if one["Effect"] == "Deny")
    allowing = (one for one in about if one["Effect"] == "Allow")
    return not any(_is_met(one, facts, if_unread=True) for one in denying) and any(
        _is_met(one, facts, if_unread=False) for one in allowing
    )


def _is_about(statement: Statement, action: str, resource: str) -> bool:
    def names(member: str, matches: Callable[[str], bool]) -> bool:
        if member not in statement:  # it has a NotPrincipal, a NotAction or a NotResource instead
            return bool(statement["Effect"] == "Deny")
        value = statement[member]
        return any(matches(one) for one in _listed(value.get("AWS") if isinstance(value, dict) else value))

    return (
        names("Principal", lambda principal: principal == "*")
        and names("Action", lambda pattern: _matches(pattern.lower(), action.lower()))
        and names("Resource", lambda pattern: _matches(pattern, resource))
    )


def _is_met(statement: Statement, facts: Mapping[str, str], *, if_unread: bool) -> bool:
    found = {key.lower(): value for key, value in facts.items()}
    for operator, keys in statement.get("Condition", {}).items():
        holds = _OPERATORS.get(operator)
        if holds is None and if_unread:
            continue
        for key, wanted in keys.items():
            value = found.get(key.lower())
            if holds is None or value is None or not any(holds(value, one) for one in _listed(wanted)):
                return False
    return True


def _matches(pattern: str, text: str) -> bool:
    """`*` and `?` are wildcards in policies; a bracket is a bracket."""
    return fnmatchcase(text, pattern.replace("[", "[[]"))


_OPERATORS: Mapping[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda value, wanted: value == wanted,
    "StringLike": lambda value, wanted: _matches(wanted, value),
    "Bool": lambda value, wanted: value.lower() == wanted.lower(),
}


def _listed(value: object) -> Iterable[str]:
    return map(str, value) if isinstance(value, list) else (str(value),)
