"""An HTTP request as the event of a function URL: payload format 2.0 (reference/invocation.md §6.3). Pure."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qsl

import msgspec

from lambent.model.function_url import domain_name

_TEXTUAL = re.compile(r"text/.*|application/(json|xml|javascript)|.*\+(json|xml)")
_OF_THE_CONNECTION = frozenset(
    ("connection", "expect", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class IamCaller:
    """Who signed the request."""

    access_key: str
    account: str
    user_arn: str
    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlRequest:
    """One request to a function URL. `path` is what follows the URL's own, as it was sent; `prefix` the URL's own.

    Header names are lower-case; `caller` is None where the URL's AuthType is NONE. Times are epoch seconds.
    """

    url_id: str
    region: str
    account: str
    request_id: str
    trace_id: str
    method: str
    path: str
    prefix: str = ""
    query: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    source_ip: str
    port: int
    now: float
    caller: IamCaller | None = None

    def header(self, name: str) -> str | None:
        return next((value for found, value in self.headers if found == name), None)


def event_of(request: UrlRequest) -> bytes:
    """The event, with AWS's members in AWS's order."""
    cookies = [cookie for name, value in request.headers if name == "cookie" for cookie in value.split("; ")]
    return msgspec.json.encode(
        {
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": request.path,
            "rawQueryString": request.query,
            **({"cookies": cookies} if cookies else {}),
            "headers": _headers(request),
            **({"queryStringParameters": _parameters(request.query)} if request.query else {}),
            "requestContext": _context(request),
            **_body(request),
        }
    )


def _headers(request: UrlRequest) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    for name, value in request.headers:
        if name in _OF_THE_CONNECTION or name == "cookie" or (name == "authorization" and request.caller is not None):
            continue
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    forwarded = headers.get("x-forwarded-for")
    headers["x-amzn-trace-id"] = request.trace_id
    headers["x-forwarded-for"] = f"{forwarded}, {request.source_ip}" if forwarded else request.source_ip
    headers.setdefault("x-forwarded-proto", "http")
    headers.setdefault("x-forwarded-port", str(request.port))
    if request.prefix:
        headers["x-forwarded-prefix"] = request.prefix
    return headers


def _parameters(query: str) -> Mapping[str, str]:
    parameters: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        parameters[name] = f"{parameters[name]},{value}" if name in parameters else value
    return parameters


def _context(request: UrlRequest) -> Mapping[str, object]:
    caller = request.caller
    domain = domain_name(request.url_id, request.region)
    return {
        "accountId": request.account if caller else "anonymous",
        "apiId": request.url_id,
        **({"authorizer": _authorizer(caller)} if caller else {}),
        "domainName": domain if request.prefix else (request.header("host") or domain).partition(":")[0],
        "domainPrefix": request.url_id,
        "http": {
            "method": request.method,
            "path": request.path,
            "protocol": "HTTP/1.1",
            "sourceIp": request.source_ip,
            "userAgent": request.header("user-agent"),
        },
        "requestId": request.request_id,
        "routeKey": "$default",
        "stage": "$default",
        "time": datetime.fromtimestamp(request.now, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "timeEpoch": int(request.now * 1000),
    }


def _authorizer(caller: IamCaller) -> Mapping[str, object]:
    return {
        "iam": {
            "accessKey": caller.access_key,
            "accountId": caller.account,
            "callerId": caller.user_id,
            "cognitoIdentity": None,
            "principalOrgId": None,
            "userArn": caller.user_arn,
            "userId": caller.user_id,
        }
    }


def _body(request: UrlRequest) -> Mapping[str, object]:
    """Text as it is where the content type says that it is text; anything else in base64."""
    if not request.body:
        return {"isBase64Encoded": False}
    media_type = (request.header("content-type") or "").partition(";")[0].strip().lower()
    if _TEXTUAL.fullmatch(media_type):
        try:
            return {"body": request.body.decode(), "isBase64Encoded": False}
        except UnicodeDecodeError:
            pass  # compressed, or of another character set
    return {"body": b64encode(request.body).decode(), "isBase64Encoded": True}
