"""Who is calling: a request's signature turned into an account, a region and an access key."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lambent.iam import sigv4
from lambent.iam.sigv4 import Credential
from lambent.model.errors import ApiError, InvalidSignature, MissingAuthenticationToken, UnrecognizedClient

DEFAULT_ACCOUNT = "000000000000"
DEFAULT_REGION = "us-east-1"

_ACCOUNT = re.compile(r"[0-9]{12}")
_REGION = re.compile(r"(?:eusc-)?[a-z]{2}(?:-gov|-iso[a-z]?)?-[a-z]+-[0-9]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """`service` is the one that the signature is for; it and the key are None where nothing is signed."""

    account: str
    region: str
    access_key_id: str | None
    service: str | None
    arn: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A credential and whom it speaks for."""

    credential: Credential
    account: str
    arn: str


class OpenAuthenticator:
    """Believes every caller: for loopback only. A 12-digit access key id chooses the account."""

    def authenticate(
        self, method: str, raw_path: str, query: str, headers: Mapping[str, str], body: bytes, now: float
    ) -> Caller:
        try:
            signed = sigv4.parse(method, raw_path, query, headers)
        except ApiError:
            signed = None
        if signed is None:
            return _caller(DEFAULT_ACCOUNT, DEFAULT_REGION, None, None)
        account = signed.access_key_id if _ACCOUNT.fullmatch(signed.access_key_id) else DEFAULT_ACCOUNT
        region = signed.region if _REGION.fullmatch(signed.region) else DEFAULT_REGION
        return _caller(account, region, signed.access_key_id, signed.service)


class EnforcingAuthenticator:
    """Lets in only requests signed with a key that `keys` finds by its access key id."""

    def __init__(self, keys: Callable[[str], Key | None]) -> None:
        self._keys = keys

    def authenticate(
        self, method: str, raw_path: str, query: str, headers: Mapping[str, str], body: bytes, now: float
    ) -> Caller:
        """The caller whose signature this is; `now` in epoch seconds.

        Raises:
            MissingAuthenticationToken: nothing is signed.
            UnrecognizedClient: no such key, or not its session token.
            IncompleteSignature, InvalidSignature: see `sigv4`.
        """
        signed = sigv4.parse(method, raw_path, query, headers)
        if signed is None:
            raise MissingAuthenticationToken("Missing Authentication Token")
        key = self._keys(signed.access_key_id)
        if key is None or key.credential.session_token != signed.session_token:
            raise UnrecognizedClient("The security token included in the request is invalid.")
        if not _REGION.fullmatch(signed.region):
            raise InvalidSignature("Credential should be scoped to a valid region.")
        sigv4.verify(signed, key.credential.secret, body, now)
        return Caller(
            account=key.account,
            region=signed.region,
            access_key_id=signed.access_key_id,
            service=signed.service,
            arn=key.arn,
        )


def root_arn(account: str) -> str:
    return f"arn:aws:iam::{account}:root"


def _caller(account: str, region: str, access_key_id: str | None, service: str | None) -> Caller:
    return Caller(account=account, region=region, access_key_id=access_key_id, service=service, arn=root_arn(account))
