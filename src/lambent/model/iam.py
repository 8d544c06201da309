"""What IAM keeps: roles and managed policies, each one record; names differ by more than their case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SESSION_S_DEFAULT = 3_600
"""Both the duration of a session and the longest that a new role allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleRecord:
    """A role with all that is part of it. Policies are kept as the text that they came as."""

    account: str
    name: str
    path: str = "/"
    role_id: str
    created_s: int
    trust_policy: str
    description: str = ""
    session_s_maximum: int = SESSION_S_DEFAULT
    permissions_boundary: str | None = None
    """ARN of a managed policy."""
    tags: Mapping[str, str] = field(default_factory=dict)
    inline_policies: Mapping[str, str] = field(default_factory=dict)
    attached_policies: tuple[str, ...] = ()
    """ARNs of managed policies, in the order in which they were attached."""

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{self.account}:role{self.path}{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyVersion:
    document: str
    created_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRecord:
    """A managed policy. `versions` holds by number those that still exist; numbers are never used again."""

    account: str
    """A customer's, or `aws`."""
    name: str
    path: str = "/"
    policy_id: str
    created_s: int
    updated_s: int
    description: str = ""
    versions: Mapping[int, PolicyVersion]
    default_version: int = 1
    next_version: int = 2
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{self.account}:policy{self.path}{self.name}"


def role_key(account: str, name: str) -> str:
    """Key of a RoleRecord in the store."""
    return f"role/{account}/{name.lower()}"


def policy_key(account: str, name: str) -> str:
    """Key of a PolicyRecord in the store."""
    return f"policy/{account}/{name.lower()}"
