"""AWS Signature Version 4, in the header and in the query string: read, verify, make. Pure; the time comes in.

Both sides build the same canonical request here, so what `sign` makes `verify` accepts.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import quote, unquote_plus

from msgspec import Struct

from lambent.model.errors import IncompleteSignature, InvalidSignature

ALGORITHM = "AWS4-HMAC-SHA256"
TERMINATOR = "aws4_request"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
SKEW_S = 300
EXPIRES_S_MAXIMUM = 604_800

Headers = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Credential:
    access_key_id: str
    secret: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


class Signed(Struct, frozen=True, kw_only=True):
    """What a request says about its signature, and the request that it covers. Not yet verified."""

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


MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)


def verify(signed: Signed, secret: str, body: bytes, now: float) -> None:
    """Check the signature against the secret, the body and the clock (epoch seconds).

    Raises:
        IncompleteSignature: the time is not in the form that AWS defines.
        InvalidSignature: expired, not yet valid, or not made with this secret over this request.
    """
    _verify_time(signed, now)
    _verify_coverage(signed)
    canonical = _canonical_request(
        signed.method,
        _canonical_path(signed.raw_path, signed.service),
        canonical_query(signed.query) if signed.query else "",
        [(name, signed.headers.get(name, "")) for name in signed.signed_headers],
        _payload_hash(signed, body),
    )
    # Latin-1 gives back the bytes that were on the wire; what it cannot say was never there.
    covered = canonical.encode("latin-1", "replace")
    expected = _signature(secret, signed.time, signed.region, signed.service, covered)
    if not hmac.compare_digest(expected.encode(), signed.signature.encode()):
        raise InvalidSignature(MISMATCH)


def _verify_time(signed: Signed, now: float) -> None:
    if signed.time[:8] != signed.date:
        raise InvalidSignature(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{signed.date}' != '{signed.time[:8]}', from '{signed.time}'."
        )
    then = epoch_of(signed.time)
    if then > now + SKEW_S:
        raise InvalidSignature(
            f"Signature not yet current: {signed.time} is still later than {time_of(now + SKEW_S)} "
            f"({time_of(now)} + 5 min.)"
        )
    lifetime_s = SKEW_S if signed.expires_s is None else signed.expires_s
    if then + lifetime_s < now:
        minutes = f"{lifetime_s / 60:g}"
        raise InvalidSignature(
            f"Signature expired: {signed.time} is now earlier than {time_of(now - lifetime_s)} "
            f"({time_of(now)} - {minutes} min.)"
        )


def _verify_coverage(signed: Signed) -> None:
    """Whatever decides what a request means must be signed: its host and every `x-amz-` header."""
    if "host" not in signed.signed_headers:
        raise InvalidSignature("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
    for name in signed.headers:
        if name.startswith("x-amz-") and name not in signed.signed_headers:
            raise InvalidSignature(f"'{name}' must be a 'SignedHeader' in the AWS Authorization.")


def _payload_hash(signed: Signed, body: bytes) -> str:
    """Always of the body at hand, so that a false `x-amz-content-sha256` cannot match. Only S3 has unsigned bodies."""
    if signed.service == "s3" and (
        signed.is_presigned or signed.headers.get("x-amz-content-sha256") == UNSIGNED_PAYLOAD
    ):
        return UNSIGNED_PAYLOAD
    return hashlib.sha256(body).hexdigest()


def sign(
    credential: Credential,
    *,
    method: str,
    raw_path: str,
    query: str,
    headers: Headers,
    body: bytes,
    region: str,
    service: str,
    now: float,
) -> dict[str, str]:
    """The headers to add to a request. `headers` are those to sign beside them, lower-case, `host` among them."""
    time = time_of(now)
    added = {"x-amz-date": time}
    if credential.session_token is not None:
        added["x-amz-security-token"] = credential.session_token
    payload_hash = hashlib.sha256(body).hexdigest()
    if service == "s3":
        added["x-amz-content-sha256"] = payload_hash
    covered = sorted({**headers, **added}.items())
    canonical = _canonical_request(
        method, _canonical_path(raw_path, service), canonical_query(query), covered, payload_hash
    )
    names = ";".join(name for name, _ in covered)
    scope = f"{credential.access_key_id}/{time[:8]}/{region}/{service}/{TERMINATOR}"
    signature = _signature(credential.secret, time, region, service, canonical.encode())
    added["authorization"] = f"{ALGORITHM} Credential={scope}, SignedHeaders={names}, Signature={signature}"
    return added


def presign(
    credential: Credential,
    *,
    method: str,
    base_url: str,
    raw_path: str,
    query: str = "",
    region: str,
    service: str,
    expires_s: int,
    now: float,
) -> str:
    """A URL that carries its own signature and needs no body. `base_url` is `scheme://host[:port]`."""
    time = time_of(now)
    parameters = {
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{credential.access_key_id}/{time[:8]}/{region}/{service}/{TERMINATOR}",
        "X-Amz-Date": time,
        "X-Amz-Expires": str(expires_s),
        "X-Amz-SignedHeaders": "host",
    }
    if credential.session_token is not None:
        parameters["X-Amz-Security-Token"] = credential.session_token
    added = "&".join(f"{name}={quote(value, safe=_UNRESERVED)}" for name, value in parameters.items())
    query = f"{query}&{added}" if query else added
    host = base_url.partition("://")[2]
    payload_hash = UNSIGNED_PAYLOAD if service == "s3" else hashlib.sha256(b"").hexdigest()
    canonical = _canonical_request(
        method, _canonical_path(raw_path, service), canonical_query(query), [("host", host)], payload_hash
    )
    signature = _signature(credential.secret, time, region, service, canonical.encode())
    return f"{base_url}{raw_path}?{query}&X-Amz-Signature={signature}"


_UNRESERVED = "-_.~"
_PLAIN_PATH = re.compile(r"(?:/[A-Za-z0-9\-_~][A-Za-z0-9\-_.~]*)+/?")


@functools.lru_cache(maxsize=1_024)
def _canonical_path(raw_path: str, service: str) -> str:
    """The path as sent; for all but S3 tidied and encoded once more, so that `%3A` becomes `%253A`."""
    if service == "s3":
        return raw_path or "/"
    if _PLAIN_PATH.fullmatch(raw_path):
        return raw_path
    segments: list[str] = []
    for segment in raw_path.split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in ("", "."):
            segments.append(segment)
    tail = "/" if segments and raw_path.endswith("/") else ""
    return quote("/" + "/".join(segments) + tail, safe="/" + _UNRESERVED)


_PLAIN_QUERY = re.compile(r"(?:[A-Za-z0-9\-_.~=&]|%[0-9A-F]{2})*")


def canonical_query(query: str) -> str:
    """Parameters sorted by encoded name and value; encoded afresh where the sender did it differently."""
    pairs = [(name, value) for name, _, value in (pair.partition("=") for pair in query.split("&") if pair)]
    if not _PLAIN_QUERY.fullmatch(query):
        pairs = [(_encode_afresh(name), _encode_afresh(value)) for name, value in pairs]
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _encode_afresh(text: str) -> str:
    return quote(unquote_plus(text), safe=_UNRESERVED)


def _canonical_request(
    method: str, path: str, query: str, headers: Iterable[tuple[str, str]], payload_hash: str
) -> str:
    names = lines = ""
    for name, value in headers:
        value = " ".join(value.split()) if "  " in value else value.strip()
        lines += f"{name}:{value}\n"
        names += f";{name}"
    return f"{method}\n{path}\n{query}\n{lines}\n{names[1:]}\n{payload_hash}"


def _signature(secret: str, time: str, region: str, service: str, canonical: bytes) -> str:
    hashed = hashlib.sha256(canonical).hexdigest()
    date = time[:8]
    to_sign = f"{ALGORITHM}\n{time}\n{date}/{region}/{service}/{TERMINATOR}\n{hashed}"
    keyed_inner, keyed_outer = _signing_key(secret, date, region, service)
    inner, outer = keyed_inner.copy(), keyed_outer.copy()
    inner.update(to_sign.encode())
    outer.update(inner.digest())
    return outer.hexdigest()


@functools.lru_cache(maxsize=1_024)
def _signing_key(secret: str, date: str, region: str, service: str) -> tuple[hashlib._Hash, hashlib._Hash]:
    """The two hashes of an HMAC (RFC 2104), with the key in them: `hmac` takes four times as long per signature."""
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, TERMINATOR):
        key = hmac.digest(key, part.encode(), "sha256")
    padded = key.ljust(64, b"\0")
    return hashlib.sha256(bytes(byte ^ 0x36 for byte in padded)), hashlib.sha256(bytes(byte ^ 0x5C for byte in padded))


_TIME = re.compile(r"\d{8}T\d{6}Z", re.ASCII)


@functools.lru_cache(maxsize=1_024)
def epoch_of(time: str) -> float:
    """Epoch seconds of `yyyymmddThhmmssZ`."""
    try:
        if _TIME.fullmatch(time):
            return datetime.strptime(time, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        pass
    raise IncompleteSignature(f"Date must be in ISO-8601 'basic format'. Got '{time}'.")


def time_of(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y%m%dT%H%M%SZ")
