"""The identifiers that IAM gives out, and the ARNs that callers name its entities by."""

from __future__ import annotations

import hashlib
import re
import secrets
from base64 import b32encode
from dataclasses import dataclass

from lambent.iam.errors import InvalidInput

ROLE, POLICY, SESSION_KEY = "AROA", "ANPA", "ASIA"
"""The first letters of an identifier tell what it stands for."""

_ID_LETTERS = 17

_POLICY_ARN = re.compile(r"arn:aws[a-z-]*:iam::(aws|[0-9]{12}):policy(/(?:[!-~]+/)?)([\w+=,.@-]{1,128})", re.ASCII)
_ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::([0-9]{12}):role(/(?:[!-~]+/)?)([\w+=,.@-]{1,64})", re.ASCII)


def new_id(prefix: str) -> str:
    return prefix + b32encode(secrets.token_bytes(11)).decode()[:_ID_LETTERS]


def new_access_key_id() -> str:
    return SESSION_KEY + b32encode(secrets.token_bytes(10)).decode()


def derived_id(prefix: str, text: str) -> str:
    """Always the same one for the same text: for what is not kept, and so was never given one."""
    return prefix + b32encode(hashlib.sha256(text.encode()).digest()).decode()[:_ID_LETTERS]


@dataclass(frozen=True, slots=True)
class EntityArn:
    """The ARN of a role or a policy, taken apart."""

    account: str
    path: str
    name: str


def parse_role_arn(text: str) -> EntityArn | None:
    match = _ROLE_ARN.fullmatch(text)
    return EntityArn(*match.groups()) if match else None


def parse_policy_arn(text: str) -> EntityArn:
    """Take the ARN of a managed policy apart.

    Raises:
        InvalidInput: it is none.
    """
    match = _POLICY_ARN.fullmatch(text)
    if match is None:
        raise InvalidInput(f"ARN {text} is not valid.")
    return EntityArn(*match.groups())
