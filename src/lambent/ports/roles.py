"""The roles that functions run as: whether one may be given to a function, and the credentials it then has."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from lambent.model.arn import FunctionArn


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleCredentials:
    """What a function signs its calls to AWS services with."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)


class Roles(Protocol):
    async def require_assumable(self, role_arn: str, function: FunctionArn) -> None:
        """Return if Lambda may run the (unqualified) function as this role.

        Raises:
            InvalidParameterValue: there is no such role, or it does not trust Lambda.
            AccessDenied: it is another account's.
        """
        ...


class RoleSessions(Protocol):
    async def issue_role_session(self, role_arn: str, function: FunctionArn) -> RoleCredentials:
        """Credentials of a new session of the role, named after the function and valid for twelve hours."""
        ...
