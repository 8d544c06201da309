"""The Security Token Service: who am I, and credentials for a while.

https://docs.aws.amazon.com/STS/latest/APIReference/API_Operations.html
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from lambent.iam import trust
from lambent.iam.entities import Entities
from lambent.iam.execution_roles import assumed
from lambent.iam.identifiers import ROLE, SESSION_KEY, EntityArn, derived_id, parse_role_arn
from lambent.iam.operations import Operation, parsing
from lambent.iam.paging import Answer
from lambent.iam.requests import AssumeRoleRequest, CallerIdentityRequest, SessionTokenRequest
from lambent.iam.sessions import Identity, Session, Sessions
from lambent.iam.trust import AwsPrincipal, Trust
from lambent.model.caller import CallerContext
from lambent.model.errors import AccessDenied, ValidationError
from lambent.model.iam import SESSION_S_DEFAULT, RoleRecord

_CHAINED_S_MAXIMUM = 3_600
_ROOT_S_MAXIMUM = 3_600
_SESSION_PRINCIPAL = "arn:aws:sts::"


class Sts:
    """With `is_open` every caller of a trusted account may assume a role, and a role that does not exist as well.

    Without, an account's trust is enough for its root user only: nothing evaluates identity policies yet.
    """

    def __init__(
        self, entities: Entities, sessions: Sessions, *, is_open: bool, clock: Callable[[], float] = time.time
    ) -> None:
        self._entities = entities
        self._sessions = sessions
        self._is_open = is_open
        self._clock = clock
        self.operations: Mapping[str, Operation] = {
            "AssumeRole": parsing(AssumeRoleRequest, self.assume_role),
            "GetCallerIdentity": parsing(CallerIdentityRequest, self.get_caller_identity),
            "GetSessionToken": parsing(SessionTokenRequest, self.get_session_token),
        }

    async def get_caller_identity(self, caller: CallerContext, _: CallerIdentityRequest) -> Answer:
        return {"UserId": caller.user_id, "Account": caller.account, "Arn": caller.arn}

    async def assume_role(self, caller: CallerContext, request: AssumeRoleRequest) -> Answer:
        arn = parse_role_arn(request.role_arn)
        if arn is None:
            raise ValidationError(f"{request.role_arn} is invalid")
        role = await self._entities.role_by_arn(arn)
        if not self._is_trusted(caller, role, request):
            raise AccessDenied(
                f"User: {caller.arn} is not authorized to perform: {trust.ASSUME_ROLE} on resource: {request.role_arn}"
            )
        identity = _assumed(arn, role, request)
        session = self._sessions.issue(identity, expires_s=self._expiry_s(_duration_s(caller, role, request)))
        return {
            "Credentials": _credentials(session),
            "AssumedRoleUser": {"AssumedRoleId": identity.user_id, "Arn": identity.arn},
        }

    async def get_session_token(self, caller: CallerContext, request: SessionTokenRequest) -> Answer:
        if caller.access_key_id.startswith(SESSION_KEY):
            raise AccessDenied("Cannot call GetSessionToken with session credentials")
        seconds = min(request.duration_seconds or _ROOT_S_MAXIMUM, _ROOT_S_MAXIMUM)
        identity = Identity(account=caller.account, arn=caller.arn, user_id=caller.user_id)
        return {"Credentials": _credentials(self._sessions.issue(identity, expires_s=self._expiry_s(seconds)))}

    def _is_trusted(self, caller: CallerContext, role: RoleRecord | None, request: AssumeRoleRequest) -> bool:
        if role is None:
            return self._is_open
        context = {
            "sts:rolesessionname": request.role_session_name,
            "aws:principalarn": caller.arn,
            "aws:principalaccount": caller.account,
        }
        if request.external_id is not None:
            context["sts:externalid"] = request.external_id
        found = trust.evaluate(role.trust_policy, AwsPrincipal(caller.arn), context)
        return found is Trust.PRINCIPAL or (found is Trust.ACCOUNT and self._is_open)

    def _expiry_s(self, duration_s: int) -> int:
        return int(self._clock()) + duration_s


def _duration_s(caller: CallerContext, role: RoleRecord | None, request: AssumeRoleRequest) -> int:
    seconds = request.duration_seconds or SESSION_S_DEFAULT
    if caller.arn.startswith(_SESSION_PRINCIPAL) and seconds > _CHAINED_S_MAXIMUM:
        raise ValidationError(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"
        )
    if role is not None and seconds > role.session_s_maximum:
        raise ValidationError("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
    return seconds


def _assumed(arn: EntityArn, role: RoleRecord | None, request: AssumeRoleRequest) -> Identity:
    role_id = role.role_id if role else derived_id(ROLE, request.role_arn)
    return assumed(arn.account, arn.name, role_id, request.role_session_name)


def _credentials(session: Session) -> Answer:
    credential = session.credential
    return {
        "AccessKeyId": credential.access_key_id,
        "SecretAccessKey": credential.secret,
        "SessionToken": credential.session_token,
        "Expiration": session.expires_s,
    }
