"""Who is calling: a request's signature turned into an account, a region and a principal; and what that may do."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lambent.iam import signed_request, sigv4
from lambent.iam.sessions import Session, Sessions
from lambent.iam.sigv4 import Credential
from lambent.model.errors import (
    AccessDenied,
    ApiError,
    ExpiredToken,
    InvalidSignature,
    MissingAuthenticationToken,
    UnrecognizedClient,
)

DEFAULT_ACCOUNT = "000000000000"
DEFAULT_REGION = "us-east-1"

_ACCOUNT = re.compile(r"[0-9]{12}")
_REGION = re.compile(r"(?:eusc-)?[a-z]{2}(?:-gov|-iso[a-z]?)?-[a-z]+-[0-9]")
_INVALID_TOKEN = "The security token included in the request is invalid."

_OPEN_TO_SESSIONS = frozenset((("sts", "GetCallerIdentity"), ("sts", "AssumeRole")))
"""What needs no identity policy: AWS asks for none, or the trust policy decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """`service` is the one that the signature is for; it and the key are None where nothing is signed."""

    account: str
    region: str
    access_key_id: str | None
    service: str | None
    arn: str
    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A lasting credential, and the account whose root user it is."""

    credential: Credential
    account: str


class OpenAuthenticator:
    """Believes every caller: for loopback only. A session token of this server's tells who calls, expired or not;
    else a 12-digit access key id chooses the account.
    """

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def authenticate(
        self, method: str, raw_path: str, query: str, headers: Mapping[str, str], body: bytes, now: float
    ) -> Caller:
        try:
            signed = signed_request.parse(method, raw_path, query, headers)
        except ApiError:
            signed = None
        if signed is None:
            return _root(DEFAULT_ACCOUNT, DEFAULT_REGION, None, None)
        region = signed.region if _REGION.fullmatch(signed.region) else DEFAULT_REGION
        session = self._sessions.read(signed.session_token) if signed.session_token else None
        if session is not None:
            return _caller(session, region, signed.service)
        account = signed.access_key_id if _ACCOUNT.fullmatch(signed.access_key_id) else DEFAULT_ACCOUNT
        return _root(account, region, signed.access_key_id, signed.service)

    def authorize(self, caller: Caller, service: str, operation: str) -> None:
        """Everybody may do everything."""


class EnforcingAuthenticator:
    """Lets in only requests signed with a key that `keys` finds by its access key id, or with a session of our own."""

    def __init__(self, keys: Callable[[str], Key | None], sessions: Sessions) -> None:
        self._keys = keys
        self._sessions = sessions

    def authenticate(
        self, method: str, raw_path: str, query: str, headers: Mapping[str, str], body: bytes, now: float
    ) -> Caller:
        """The caller whose signature this is; `now` in epoch seconds.

        Raises:
            MissingAuthenticationToken: nothing is signed.
            UnrecognizedClient: no such key, or not its session token.
            ExpiredToken: the session is over.
            IncompleteSignature, InvalidSignature: see `signed_request` and `sigv4`.
        """
        signed = signed_request.parse(method, raw_path, query, headers)
        if signed is None:
            raise MissingAuthenticationToken("Missing Authentication Token")
        holder = self._holder(signed.access_key_id, signed.session_token)
        if not _REGION.fullmatch(signed.region):
            raise InvalidSignature("Credential should be scoped to a valid region.")
        sigv4.verify(signed, holder.credential.secret, body, now)
        if isinstance(holder, Key):
            return _root(holder.account, signed.region, signed.access_key_id, signed.service)
        if holder.expires_s <= now:
            raise ExpiredToken("The security token included in the request is expired")
        return _caller(holder, signed.region, signed.service)

    def authorize(self, caller: Caller, service: str, operation: str) -> None:
        """Refuse a role's session whatever an identity policy would have to allow: nothing evaluates them yet.

        Raises:
            AccessDenied: the caller is not its account's root user, and the operation is not open to sessions.
        """
        if caller.arn == root_arn(caller.account) or (service, operation) in _OPEN_TO_SESSIONS:
            return
        raise AccessDenied(
            f"User: {caller.arn} is not authorized to perform: {service}:{operation} because Lambent does not evaluate "
            "identity-based policies yet: only the root key may do this. See docs/compatibility.md"
        )

    def _holder(self, access_key_id: str, session_token: str | None) -> Key | Session:
        holder = self._keys(access_key_id) if session_token is None else self._sessions.read(session_token)
        if holder is None or holder.credential.access_key_id != access_key_id:
            raise UnrecognizedClient(_INVALID_TOKEN)
        return holder


def root_arn(account: str) -> str:
    return f"arn:aws:iam::{account}:root"


@functools.lru_cache(maxsize=1_024)
def _root(account: str, region: str, access_key_id: str | None, service: str | None) -> Caller:
    """An account's root user, whose id is the account's."""
    return Caller(
        account=account,
        region=region,
        access_key_id=access_key_id,
        service=service,
        arn=root_arn(account),
        user_id=account,
    )


def _caller(session: Session, region: str, service: str) -> Caller:
    identity = session.identity
    return Caller(
        account=identity.account,
        region=region,
        access_key_id=session.credential.access_key_id,
        service=service,
        arn=identity.arn,
        user_id=identity.user_id,
    )
