"""Errors of AWS services that Lambent does not provide, in the form that each service's clients can read."""

from __future__ import annotations

import json
from xml.sax.saxutils import escape

from lambent.http.exchange import Exchange
from lambent.http.wire import Header

Response = tuple[int, list[Header], bytes]

_LIKE_S3 = frozenset(("s3", "s3express", "s3-outposts", "s3-object-lambda"))
_LIKE_QUERY = frozenset(("cloudfront", "route53"))


def refusal(exchange: Exchange, service: str, status: int, code: str, message: str) -> Response:
    """The answer that tells an error; the request itself shows which protocol its client speaks."""
    content_type = (exchange.header(b"content-type") or b"").partition(b";")[0]
    if exchange.header(b"smithy-protocol") == b"rpc-v2-cbor":
        headers = [(b"smithy-protocol", b"rpc-v2-cbor"), (b"content-type", b"application/cbor")]
        return status, headers, _cbor({"__type": code, "message": message})
    if exchange.header(b"x-amz-target") is not None:
        return status, [(b"content-type", content_type)], _json({"__type": code, "message": message})
    if content_type == b"application/x-www-form-urlencoded" or service in _LIKE_QUERY | _LIKE_S3:
        return status, [(b"content-type", b"application/xml")], _xml(service, code, message)
    headers = [(b"content-type", b"application/json"), (b"x-amzn-errortype", code.encode())]
    return status, headers, _json({"message": message})


def _json(members: dict[str, str]) -> bytes:
    return json.dumps(members).encode()


def _xml(service: str, code: str, message: str) -> bytes:
    error = f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>"
    if service in _LIKE_S3:
        text = error
    elif service == "ec2":
        text = f"<Response><Errors>{error}</Errors></Response>"
    else:
        text = f"<ErrorResponse>{error}</ErrorResponse>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()


def _cbor(members: dict[str, str]) -> bytes:
    """A map of texts (RFC 8949 §3): so little of CBOR that no library is needed."""
    encoded = [_cbor_head(5, len(members))]
    for text in (text for member in members.items() for text in member):
        encoded += [_cbor_head(3, len(text.encode())), text.encode()]
    return b"".join(encoded)


def _cbor_head(major_type: int, length: int) -> bytes:
    if length < 24:
        return bytes((major_type << 5 | length,))
    return bytes((major_type << 5 | 25,)) + length.to_bytes(2, "big")
