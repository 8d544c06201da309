"""The roles that functions run as: implements `ports.roles`, for the control plane and the worker."""

from __future__ import annotations

import time
from collections.abc import Callable

from lambent.iam import trust
from lambent.iam.entities import Entities
from lambent.iam.identifiers import ROLE, derived_id, parse_role_arn
from lambent.iam.sessions import Identity, Sessions
from lambent.iam.trust import ServicePrincipal, Trust
from lambent.model.arn import FunctionArn
from lambent.model.errors import AccessDenied, InvalidParameterValue
from lambent.ports.roles import RoleCredentials

LAMBDA = ServicePrincipal("lambda.amazonaws.com")
SESSION_S = 12 * 3_600
"""An environment keeps the credentials that it began with."""


class ExecutionRoles:
    """With `accepts_unknown` a function may name a role that its account does not have: developers make them up."""

    def __init__(
        self,
        entities: Entities,
        sessions: Sessions,
        *,
        accepts_unknown: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._entities = entities
        self._sessions = sessions
        self._accepts_unknown = accepts_unknown
        self._clock = clock

    async def require_assumable(self, role_arn: str, function: FunctionArn) -> None:
        arn = parse_role_arn(role_arn)
        is_abroad = arn is not None and arn.account != function.account
        role = await self._entities.role_by_arn(arn) if arn is not None and not is_abroad else None
        if role is None and self._accepts_unknown:
            return
        if is_abroad:
            raise AccessDenied("Cross-account pass role is not allowed.")
        context = {"aws:sourcearn": str(function), "aws:sourceaccount": function.account}
        if role is None or trust.evaluate(role.trust_policy, LAMBDA, context) is Trust.NONE:
            raise InvalidParameterValue("The role defined for the function cannot be assumed by Lambda.")

    async def issue_role_session(self, role_arn: str, function: FunctionArn) -> RoleCredentials:
        arn = parse_role_arn(role_arn)
        role = await self._entities.role_by_arn(arn) if arn else None
        identity = assumed(
            function.account,  # also where a made-up role's ARN names another one
            arn.name if arn else role_arn.rpartition("/")[2],
            role.role_id if role else derived_id(ROLE, role_arn),
            function.name,
        )
        issued = self._sessions.issue(identity, expires_s=int(self._clock()) + SESSION_S)
        return RoleCredentials(
            access_key_id=issued.credential.access_key_id,
            secret_access_key=issued.credential.secret,
            session_token=issued.credential.session_token or "",
        )


def assumed(account: str, role_name: str, role_id: str, session_name: str) -> Identity:
    """Who a role's session is."""
    return Identity(
        account=account,
        arn=f"arn:aws:sts::{account}:assumed-role/{role_name}/{session_name}",
        user_id=f"{role_id}:{session_name}",
    )
