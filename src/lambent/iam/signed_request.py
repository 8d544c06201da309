"""What a request says about its AWS Signature Version 4, in the header or in the query string. Not yet verified.

`sigv4` verifies it.
"""

from __future__ import annotations

import functools
import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from urllib.parse import unquote_plus

from lambent.iam.signed import Headers, Signed
from lambent.model.errors import IncompleteSignature, InvalidSignature

ALGORITHM = "AWS4-HMAC-SHA256"
TERMINATOR = "aws4_request"
EXPIRES_S_MAXIMUM = 604_800

_CLAIM = re.compile(
    r"AWS4-HMAC-SHA256\s+Credential=([^/,\s]+)/(\d{8})/([^/,\s]+)/([^/,\s]+)/aws4_request\s*,"
    r"\s*SignedHeaders=([^,\s]+)\s*,\s*"
)
_Claim = tuple[str, str, str, str, tuple[str, ...]]
"""Access key id, date, region, service and the names of the signed headers."""


_EXPIRES = re.compile(r"[0-9]{1,6}")


def parse(method: str, raw_path: str, query: str, headers: Headers) -> Signed | None:
    """The signature of a request, or None if it carries none.

    Header names are lower-case, the path is as it was sent, and all text is the wire's bytes read as latin-1.

    Raises:
        IncompleteSignature: there is one, but not of the form that AWS defines.
        InvalidSignature: its credential is scoped to no region, service or day.
    """
    authorization = headers.get("authorization")
    if authorization is None:
        return _parse_presigned(method, raw_path, query, headers) if "X-Amz-Signature=" in query else None
    text, found, signature = authorization.rpartition("Signature=")
    claim = _read_claim(text) if found and len(signature) == 64 else None
    if claim is None:
        claim, signature = _read_unusual(authorization)
    access_key_id, date, region, service, signed_headers = claim
    return Signed(
        access_key_id=access_key_id,
        date=date,
        region=region,
        service=service,
        signed_headers=signed_headers,
        signature=signature,
        time=_time_of(authorization, headers),
        session_token=headers.get("x-amz-security-token"),
        expires_s=None,
        method=method,
        raw_path=raw_path,
        query=query,
        headers=headers,
    )


@functools.lru_cache(maxsize=1_024)
def _read_claim(text: str) -> _Claim | None:
    """What stands before the signature, the same in all of a client's requests of a day; None if not as usual."""
    match = _CLAIM.fullmatch(text)
    if match is None:
        return None
    access_key_id, date, region, service, names = match.groups()
    return access_key_id, date, region, service, tuple(names.split(";"))


def _time_of(authorization: str, headers: Headers) -> str:
    if (time := headers.get("x-amz-date")) is not None:
        return time
    if (http_date := headers.get("date")) is None:
        raise IncompleteSignature(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "
            f"Authorization={authorization}"
        )
    try:
        return parsedate_to_datetime(http_date).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    except ValueError:
        return http_date


def _read_unusual(authorization: str) -> tuple[_Claim, str]:
    """The claim and the signature of an unusual header, or an error that says what is wrong with it."""
    algorithm, _, rest = authorization.partition(" ")
    parts = {}
    for part in rest.split(","):
        name, equals, value = part.strip().partition("=")
        if not equals:
            raise IncompleteSignature(
                f"'{part.strip()}' not a valid key=value pair (missing equal-sign) in Authorization header: "
                f"'{authorization}'."
            )
        parts[name] = value
    missing = [name for name in ("Credential", "Signature", "SignedHeaders") if not parts.get(name)]
    if missing or algorithm != ALGORITHM:
        complaints = [f"Authorization header requires '{name}' parameter." for name in missing]
        raise IncompleteSignature(" ".join([*complaints, f"Authorization={authorization}"]))
    claim = (*_read_scope(parts["Credential"]), tuple(parts["SignedHeaders"].split(";")))
    return claim, parts["Signature"]


def _parse_presigned(method: str, raw_path: str, query: str, headers: Headers) -> Signed:
    pairs = [pair.partition("=") for pair in query.split("&")]
    given = {unquote_plus(name): unquote_plus(value) for name, _, value in pairs}
    required = ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature")
    missing = [f"X-Amz-{name}" for name in required if not given.get(f"X-Amz-{name}")]
    if missing or given["X-Amz-Algorithm"] != ALGORITHM:
        complaints = [f"AWS query-string parameters must include '{name}'." for name in missing]
        raise IncompleteSignature(" ".join([*complaints, "Re-examine the query-string parameters."]))
    expires = given["X-Amz-Expires"]
    if not _EXPIRES.fullmatch(expires) or int(expires) > EXPIRES_S_MAXIMUM:
        raise IncompleteSignature(f"X-Amz-Expires must be a number of seconds up to {EXPIRES_S_MAXIMUM}")
    access_key_id, date, region, service = _read_scope(given["X-Amz-Credential"])
    return Signed(
        access_key_id=access_key_id,
        date=date,
        region=region,
        service=service,
        signed_headers=tuple(given["X-Amz-SignedHeaders"].split(";")),
        signature=given["X-Amz-Signature"],
        time=given["X-Amz-Date"],
        session_token=given.get("X-Amz-Security-Token"),
        expires_s=int(expires),
        method=method,
        raw_path=raw_path,
        query="&".join(pair for pair in query.split("&") if not pair.startswith("X-Amz-Signature=")),
        headers=headers,
    )


def _read_scope(credential: str) -> tuple[str, str, str, str]:
    """Access key id, date, region and service."""
    elements = credential.split("/")
    if len(elements) != 5:
        raise IncompleteSignature(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, "
            f"got '{credential}'"
        )
    access_key_id, date, region, service, terminator = elements
    if terminator != TERMINATOR:
        raise InvalidSignature(
            f"Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{terminator}'."
        )
    return access_key_id, date, region, service
