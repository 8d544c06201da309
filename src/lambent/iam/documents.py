"""Policy documents: read strictly, and refused in AWS's words where they are not what AWS would keep.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any  # Any: what JSON holds

from lambent.iam.errors import MalformedPolicyDocument

Statement = Mapping[str, Any]

_VERSIONS = ("2012-10-17", "2008-10-17")
_SYNTAX = "Syntax errors in policy."
_DOCUMENT_MEMBERS = frozenset(("Version", "Id", "Statement"))
_STATEMENT_MEMBERS = frozenset(
    ("Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition")
)
_ACTION = re.compile(r"\*|[a-zA-Z0-9-]+:[a-zA-Z0-9*?]+", re.ASCII)
_RESOURCE = re.compile(r"\*|arn:(?:[^:]*:){4}.*", re.DOTALL)
_OPERATOR = re.compile(
    r"(?:For(?:AllValues|AnyValue):)?"
    r"(?:(?:String(?:Not)?(?:Equals(?:IgnoreCase)?|Like)|(?:Numeric|Date)(?:(?:Not)?Equals|(?:Less|Greater)Than(?:Equals)?)"
    r"|Arn(?:Not)?(?:Equals|Like)|Bool|BinaryEquals|(?:Not)?IpAddress)(?:IfExists)?|Null)"
)
_AWS_PRINCIPAL = re.compile(
    r"\*|[0-9]{12}|arn:aws[a-z-]*:(?:iam::[0-9]{12}:(?:root|(?:role|user)/.+)|sts::[0-9]{12}:(?:assumed-role|federated-user)/.+)"
)
_SERVICE = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)*\.amazonaws\.com(?:\.cn)?")
_ASSUMING = frozenset(
    (
        "assumerole",
        "assumerolewithsaml",
        "assumerolewithwebidentity",
        "tagsession",
        "setsourceidentity",
        "setcontext",
        "*",
    )
)


def check_managed_policy(text: str) -> None:
    """As `check_identity_policy`; only documents of the newer version can be managed policies."""
    check_identity_policy(text)
    if json.loads(text).get("Version") != _VERSIONS[0]:
        raise MalformedPolicyDocument("Policy document must be version 2012-10-17 or greater.")


def check_identity_policy(text: str) -> None:
    """A document that says what its owner may do.

    Raises:
        MalformedPolicyDocument: it is none.
    """
    document = _read(text, _SYNTAX)
    for statement in _statements(document):
        if "Principal" in statement or "NotPrincipal" in statement:
            raise MalformedPolicyDocument("Policy document should not specify a principal.")
        for action in _one_of(statement, "Action", "NotAction", "Policy statement must contain actions."):
            if not _ACTION.fullmatch(action):
                raise MalformedPolicyDocument(
                    "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
                )
        for resource in _one_of(statement, "Resource", "NotResource", "Policy statement must contain resources."):
            if not _RESOURCE.fullmatch(resource):
                raise MalformedPolicyDocument(f'Resource {resource} must be in ARN format or "*".')


def check_trust_policy(text: str) -> None:
    """A document that says who may assume a role. Raises as `check_identity_policy`."""
    document = _read(text, "This policy contains invalid Json")
    for statement in _statements(document):
        if "Resource" in statement or "NotResource" in statement:
            raise MalformedPolicyDocument("Has prohibited field Resource")
        for action in _one_of(statement, "Action", "NotAction", "Missing required field Action"):
            vendor, _, name = action.lower().partition(":")
            if action != "*" and (vendor != "sts" or name not in _ASSUMING):
                raise MalformedPolicyDocument("AssumeRole policy may only specify STS AssumeRole actions.")
        if ("Principal" in statement) == ("NotPrincipal" in statement):
            raise MalformedPolicyDocument("Missing required field Principal")
        _check_principals(statement.get("Principal", statement.get("NotPrincipal")))


def statements(text: str) -> Sequence[Statement]:
    """The statements of a document that has been checked."""
    return _statements(json.loads(text))


def texts(value: Any) -> Sequence[str]:
    """One text or a list of them: the grammar allows both everywhere."""
    return [value] if isinstance(value, str) else value


def _read(text: str, complaint: str) -> Mapping[str, Any]:
    try:
        document = json.loads(text, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise MalformedPolicyDocument(complaint) from error
    if not isinstance(document, dict) or not document.keys() <= _DOCUMENT_MEMBERS or "Statement" not in document:
        raise MalformedPolicyDocument(_SYNTAX)
    if document.get("Version", _VERSIONS[0]) not in _VERSIONS:
        raise MalformedPolicyDocument("The policy must contain a valid version string")
    return document


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is there twice")
    return members


def _statements(document: Mapping[str, Any]) -> Sequence[Statement]:
    listed = document["Statement"]
    found = [listed] if isinstance(listed, dict) else listed
    if not isinstance(found, list) or not found:
        raise MalformedPolicyDocument(_SYNTAX)
    for statement in found:
        _check_form(statement)
    sids = [statement["Sid"] for statement in found if "Sid" in statement]
    if len(set(sids)) != len(sids):
        raise MalformedPolicyDocument("Statement IDs (SID) in a single policy must be unique.")
    return found


def _check_form(statement: Any) -> None:
    is_sound = (
        isinstance(statement, dict)
        and statement.keys() <= _STATEMENT_MEMBERS
        and statement.get("Effect") in ("Allow", "Deny")
        and isinstance(statement.get("Sid", ""), str)
        and _is_condition(statement.get("Condition", {}))
    )
    if not is_sound:
        raise MalformedPolicyDocument(_SYNTAX)


def _is_condition(condition: Any) -> bool:
    return isinstance(condition, dict) and all(
        _OPERATOR.fullmatch(operator)
        and isinstance(keys, dict)
        and all(_is_condition_value(one) for one in keys.values())
        for operator, keys in condition.items()
    )


def _is_condition_value(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return all(isinstance(one, str | bool | int | float) for one in values)


def _one_of(statement: Statement, name: str, opposite: str, complaint: str) -> Sequence[str]:
    """The texts of a member or its opposite, exactly one of which must be there."""
    given = [statement[one] for one in (name, opposite) if one in statement]
    if not given:
        raise MalformedPolicyDocument(complaint)
    found = [given[0]] if isinstance(given[0], str) else given[0]
    if len(given) > 1 or not _is_texts(found):
        raise MalformedPolicyDocument(_SYNTAX)
    if not found:
        raise MalformedPolicyDocument(complaint)
    return list(found)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _check_principals(principal: Any) -> None:
    if principal == "*":
        return
    if not isinstance(principal, dict) or not principal:
        raise MalformedPolicyDocument(_SYNTAX)
    for kind, value in principal.items():
        listed = [value] if isinstance(value, str) else value
        if kind not in ("AWS", "Service", "Federated", "CanonicalUser") or not listed or not _is_texts(listed):
            raise MalformedPolicyDocument(_SYNTAX)
        form = {"AWS": _AWS_PRINCIPAL, "Service": _SERVICE}.get(kind)
        for one in listed:
            if form is not None and not form.fullmatch(one):
                shown = kind.upper() if kind == "Service" else kind
                raise MalformedPolicyDocument(f'Invalid principal in policy: "{shown}":"{one}"')
