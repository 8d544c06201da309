"""What a request says about its AWS Signature Version 4, and the request that this covers. Not yet verified."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

Headers = Mapping[str, str]


class Signed(Struct, frozen=True, kw_only=True):
    access_key_id: str
    date: str
    """`yyyymmdd` of the credential scope."""
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str
    time: str
    """`yyyymmddThhmmssZ`"""
    session_token: str | None
    expires_s: int | None
    """How long a presigned URL lasts; None for a signature in the header."""
    method: str
    raw_path: str
    query: str
    headers: Headers

    @property
    def is_presigned(self) -> bool:
        return self.expires_s is not None
