"""Temporary credentials that need no store: a session token says whom it stands for, and is signed by this server.

The secret key follows from the token: whoever checks a signature needs that and the server's own key, nothing else.
Pure; the time comes in. Decision 0007.
"""

from __future__ import annotations

import hmac
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass

import msgspec

from lambent.iam.identifiers import new_access_key_id
from lambent.iam.sigv4 import Credential

_SEAL_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whom a session stands for."""

    account: str
    arn: str
    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One set of temporary credentials; `expires_s` in epoch seconds."""

    credential: Credential
    identity: Identity
    expires_s: int


class _Claims(msgspec.Struct, frozen=True, array_like=True):
    """What a token says."""

    access_key_id: str
    account: str
    arn: str
    user_id: str
    expires_s: int


class Sessions:
    """Makes and reads the tokens of the server that holds `secret`: a new secret ends all sessions."""

    def __init__(self, secret: str) -> None:
        self._key = hmac.digest(secret.encode(), b"lambent session tokens", "sha256")

    def issue(self, identity: Identity, *, expires_s: int) -> Session:
        claims = _Claims(new_access_key_id(), identity.account, identity.arn, identity.user_id, expires_s)
        sealed = msgspec.msgpack.encode(claims)
        token = urlsafe_b64encode(self._seal(sealed) + sealed).decode()
        return self._session(claims, token)

    def read(self, token: str) -> Session | None:
        """The session of a token, expired or not; None where the token is not of this server's making."""
        try:
            raw = urlsafe_b64decode(token)
            seal, sealed = raw[:_SEAL_BYTES], raw[_SEAL_BYTES:]
            if not hmac.compare_digest(seal, self._seal(sealed)) or urlsafe_b64encode(raw).decode() != token:
                return None
            return self._session(msgspec.msgpack.decode(sealed, type=_Claims), token)
        except (ValueError, msgspec.MsgspecError):
            return None

    def _session(self, claims: _Claims, token: str) -> Session:
        derived = hmac.digest(self._key, b"secret key " + token.encode(), "sha256")
        return Session(
            credential=Credential(claims.access_key_id, b64encode(derived).decode()[:40], token),
            identity=Identity(account=claims.account, arn=claims.arn, user_id=claims.user_id),
            expires_s=claims.expires_s,
        )

    def _seal(self, sealed: bytes) -> bytes:
        return hmac.digest(self._key, sealed, "sha256")
