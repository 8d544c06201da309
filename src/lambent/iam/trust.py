"""Who may assume a role: the evaluation of trust policies alone. Pure.

Whatever a statement asks for that is not known here makes an Allow miss and a Deny hit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any  # Any: what JSON holds

from lambent.iam.documents import Statement, statements, texts

ASSUME_ROLE = "sts:AssumeRole"


class Trust(Enum):
    NONE = "none"
    """No statement allows it, or one denies it."""
    ACCOUNT = "account"
    """The principal's account is trusted, which must itself allow the principal to assume the role."""
    PRINCIPAL = "principal"
    """The principal is trusted itself."""


@dataclass(frozen=True, slots=True)
class ServicePrincipal:
    """An AWS service, e.g. lambda.amazonaws.com."""

    name: str


@dataclass(frozen=True, slots=True)
class AwsPrincipal:
    """An account's root user, or a session of a role, by its ARN."""

    arn: str

    @property
    def account(self) -> str:
        return self.arn.split(":")[4]


Principal = ServicePrincipal | AwsPrincipal


def evaluate(trust_policy: str, principal: Principal, context: Mapping[str, str]) -> Trust:
    """How far a document that was checked trusts the principal; `context` holds condition keys in lower case."""
    trust = Trust.NONE
    for statement in statements(trust_policy):
        is_denial = statement["Effect"] == "Deny"
        if not _is_about_assuming(statement) or not _conditions_hold(statement, context, unknown=is_denial):
            continue
        match = _match(statement, principal)
        if is_denial and match is not Trust.NONE:
            return Trust.NONE
        if not is_denial and (match is Trust.PRINCIPAL or trust is Trust.NONE):
            trust = match
    return trust


def _is_about_assuming(statement: Statement) -> bool:
    if "NotAction" in statement:
        return not any(_is_like(ASSUME_ROLE.lower(), one.lower()) for one in texts(statement["NotAction"]))
    return any(_is_like(ASSUME_ROLE.lower(), one.lower()) for one in texts(statement["Action"]))


def _match(statement: Statement, principal: Principal) -> Trust:
    if "NotPrincipal" in statement:
        named = _match_named(statement["NotPrincipal"], principal)
        return Trust.PRINCIPAL if named is Trust.NONE else Trust.NONE
    return _match_named(statement["Principal"], principal)


def _match_named(named: Any, principal: Principal) -> Trust:
    if named == "*":
        return Trust.PRINCIPAL
    match principal:
        case ServicePrincipal(name=name):
            return Trust.PRINCIPAL if name in texts(named.get("Service", [])) else Trust.NONE
        case AwsPrincipal():
            matches = [_match_aws(one, principal) for one in texts(named.get("AWS", []))]
    return next((one for one in (Trust.PRINCIPAL, Trust.ACCOUNT) if one in matches), Trust.NONE)


def _match_aws(named: str, principal: AwsPrincipal) -> Trust:
    if named in ("*", principal.arn) or named == _role_of(principal, named):
        return Trust.PRINCIPAL
    root = f"arn:aws:iam::{principal.account}:root"
    if named in (principal.account, root):
        return Trust.PRINCIPAL if principal.arn == root else Trust.ACCOUNT
    return Trust.NONE


def _role_of(principal: AwsPrincipal, named: str) -> str | None:
    """The ARN of the role that a session is of; `named` lends its path, which a session's ARN does not tell."""
    kind, _, rest = principal.arn.split(":", 5)[5].partition("/")
    if kind != "assumed-role":
        return None
    role = rest.partition("/")[0]
    path = named.partition(":role/")[2].rpartition("/")[0]
    return f"arn:aws:iam::{principal.account}:role/{path + '/' if path else ''}{role}"


# Conditions -----------------------------------------------------------------------------------------------------------

Compare = Callable[[str, str], bool]


def _is_like(text: str, pattern: str) -> bool:
    return _wildcards(pattern).fullmatch(text) is not None


@lru_cache(maxsize=256)
def _wildcards(pattern: str) -> re.Pattern[str]:
    parts = (".*" if part == "*" else "." if part == "?" else re.escape(part) for part in re.split(r"([*?])", pattern))
    return re.compile("".join(parts), re.DOTALL)


def _is_arn_like(text: str, pattern: str) -> bool:
    """Wildcards do not reach over the colons between the first six parts of an ARN."""
    given, wanted = text.split(":", 5), pattern.split(":", 5)
    return len(given) == len(wanted) == 6 and all(map(_is_like, given, wanted))


_COMPARISONS: Mapping[str, Compare] = {
    "StringEquals": str.__eq__,
    "StringEqualsIgnoreCase": lambda text, value: text.lower() == value.lower(),
    "StringLike": _is_like,
    "ArnEquals": _is_arn_like,
    "ArnLike": _is_arn_like,
    "Bool": lambda text, value: text.lower() == value.lower(),
}


def _conditions_hold(statement: Statement, context: Mapping[str, str], *, unknown: bool) -> bool:
    """Whether all conditions hold; `unknown` is what an operator counts as that is not known."""
    return all(
        _holds(operator, context.get(key.lower()), _values(values), unknown)
        for operator, keys in statement.get("Condition", {}).items()
        for key, values in keys.items()
    )


def _holds(operator: str, found: str | None, wanted: Sequence[str], unknown: bool) -> bool:
    name = operator.partition(":")[2] or operator
    if name == "Null":
        return str(found is None).lower() in (value.lower() for value in wanted)
    if found is None and (name.endswith("IfExists") or operator.startswith("ForAllValues:")):
        return True
    name = name.removesuffix("IfExists")
    compare, is_negated = _COMPARISONS.get(name), False
    if compare is None and "Not" in name:
        compare, is_negated = _COMPARISONS.get(name.replace("Not", "")), True
    if compare is None:
        return unknown
    return (found is not None and any(compare(found, value) for value in wanted)) is not is_negated


def _values(values: Any) -> Sequence[str]:
    """JSON's true, false and numbers stand for their text."""
    listed = values if isinstance(values, list) else [values]
    return [str(value).lower() if isinstance(value, bool) else str(value) for value in listed]
