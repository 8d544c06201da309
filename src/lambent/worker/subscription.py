"""What an extension asks of the Telemetry API or the Logs API, read and checked. Pure.

reference/extensions-telemetry.md §4-5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any  # Any: a JSON document of the function's making
from urllib.parse import urlsplit

import msgspec

HOSTS = frozenset({"sandbox.localdomain", "sandbox", "localhost", "127.0.0.1"})
"""Names an environment has for itself; AWS documents the first."""

RECORD_TYPES = ("platform", "function", "extension")


class Api(Enum):
    """Which of the two is spoken: they differ in path, versions and the records of platform events."""

    TELEMETRY = "Telemetry"
    LOGS = "Logs"


SCHEMA_VERSIONS: Mapping[Api, tuple[str, ...]] = {
    Api.TELEMETRY: ("2022-07-01", "2022-12-13", "2025-01-29"),
    Api.LOGS: ("2020-08-15", "2021-03-18"),
}


class InvalidSubscription(Exception):
    """Says what was expected and what was found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffering:
    """A batch is sent when it holds so much, or has waited so long."""

    max_items: int = 10_000
    max_bytes: int = 262_144
    timeout_ms: int = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpDestination:
    port: int
    target: str
    method: str = "POST"


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpDestination:
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    api: Api
    schema_version: str
    types: tuple[str, ...]
    destination: HttpDestination | TcpDestination
    buffering: Buffering = Buffering()


_RANGES = {"maxItems": (1_000, 10_000), "maxBytes": (262_144, 1_048_576), "timeoutMs": (25, 30_000)}


def parse_subscription(api: Api, body: bytes) -> Subscription:
    """Read the body of a request to subscribe.

    Raises:
        InvalidSubscription: something in it is missing, unknown or out of range.
    """
    try:
        request = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError) as exc:
        raise InvalidSubscription(f"the body must be a JSON object: {exc}") from exc
    return Subscription(
        api=api,
        schema_version=_schema_version(api, request.get("schemaVersion")),
        types=_types(request.get("types")),
        destination=_destination(request.get("destination")),
        buffering=_buffering(request.get("buffering")),
    )


def _schema_version(api: Api, given: object) -> str:
    known = SCHEMA_VERSIONS[api]
    if given is None and api is Api.LOGS:
        return known[0]
    if given not in known:
        raise InvalidSubscription(f"schemaVersion must be one of {_listed(known)}, not {given!r}")
    return str(given)


def _types(given: object) -> tuple[str, ...]:
    if not isinstance(given, list) or not given or not set(map(str, given)) <= set(RECORD_TYPES):
        raise InvalidSubscription(f"types must be a list of {_listed(RECORD_TYPES)}, not {given!r}")
    return tuple(dict.fromkeys(given))


def _buffering(given: object) -> Buffering:
    if given is None:
        return Buffering()
    if not isinstance(given, dict) or not given.keys() <= _RANGES.keys():
        raise InvalidSubscription(f"buffering must be an object of {_listed(_RANGES)}, not {given!r}")
    for name, value in given.items():
        minimum, maximum = _RANGES[name]
        if type(value) is not int or not minimum <= value <= maximum:
            raise InvalidSubscription(f"buffering.{name} must be between {minimum} and {maximum}, not {value!r}")
    default = Buffering()
    return Buffering(
        max_items=given.get("maxItems", default.max_items),
        max_bytes=given.get("maxBytes", default.max_bytes),
        timeout_ms=given.get("timeoutMs", default.timeout_ms),
    )


def _destination(given: object) -> HttpDestination | TcpDestination:
    match given:
        case {"protocol": "HTTP", "URI": str(uri), **rest}:
            return _http_destination(uri, rest.get("method", "POST"), rest.get("encoding", "JSON"))
        case {"protocol": "TCP", "port": int(port)} if 0 < port < 65_536:
            return TcpDestination(port=port)
        case _:
            text = '{"protocol": "HTTP", "URI": "http://sandbox.localdomain:PORT"} or {"protocol": "TCP", "port": PORT}'
            raise InvalidSubscription(f"destination must be {text}, not {given!r}")


def _http_destination(uri: str, method: object, encoding: object) -> HttpDestination:
    try:
        parts = urlsplit(uri)
        port = parts.port or 80
    except ValueError as exc:
        raise InvalidSubscription(f"destination.URI cannot be read: {exc}") from exc
    target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    if parts.scheme != "http" or parts.hostname not in HOSTS or not uri.isascii() or not uri.isprintable():
        raise InvalidSubscription(f"destination.URI must be http://sandbox.localdomain:PORT/PATH, not {uri!r}")
    if method not in ("POST", "PUT"):
        raise InvalidSubscription(f"destination.method must be POST or PUT, not {method!r}")
    if encoding != "JSON":
        raise InvalidSubscription(f"destination.encoding must be JSON, not {encoding!r}")
    return HttpDestination(port=port, target=target.replace(" ", "%20"), method=str(method))


def _listed(names: Sequence[str] | Mapping[str, object]) -> str:
    return ", ".join(names)
