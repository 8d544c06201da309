"""AWS Signature Version 4, in the header and in the query string: verify what `signed_request` has read, and make.

Pure; the time comes in. Both sides build the same canonical request here, so what `sign` makes `verify` accepts.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote, unquote_plus

from lambent.iam.signed import Headers, Signed
from lambent.iam.signed_request import ALGORITHM, TERMINATOR
from lambent.model.errors import IncompleteSignature, InvalidSignature

UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
SKEW_S = 300


@dataclass(frozen=True, slots=True)
class Credential:
    access_key_id: str
    secret: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


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
