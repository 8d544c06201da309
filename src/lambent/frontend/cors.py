"""Cross-origin requests to a function URL, answered as its Cors says (reference/invocation.md §6.5). Pure."""

from __future__ import annotations

from collections.abc import Sequence

from lambent.model.function_url import Cors

Header = tuple[bytes, bytes]


def is_preflight(method: str, origin: str | None) -> bool:
    return method == "OPTIONS" and origin is not None


def preflight(cors: Cors, origin: str | None) -> list[Header]:
    """What a browser wants to know before it asks; nothing for an origin that is not allowed."""
    granted = _granted(cors, origin)
    if not granted:
        return []
    if cors.allow_methods:
        granted.append((b"access-control-allow-methods", _joined(cors.allow_methods)))
    if cors.allow_headers:
        granted.append((b"access-control-allow-headers", _joined(cors.allow_headers)))
    if cors.max_age_s is not None:
        granted.append((b"access-control-max-age", b"%d" % cors.max_age_s))
    return granted


def with_cors(cors: Cors | None, origin: str | None, headers: Sequence[Header]) -> list[Header]:
    """The function's headers, with its own words about origins replaced by those of the configuration."""
    if cors is None:
        return list(headers)
    kept = [header for header in headers if not header[0].startswith(b"access-control-")]
    granted = _granted(cors, origin)
    if granted and cors.expose_headers:
        granted.append((b"access-control-expose-headers", _joined(cors.expose_headers)))
    return kept + granted


def _granted(cors: Cors, origin: str | None) -> list[Header]:
    allowed = cors.allow_origins or ()
    if origin is None or not ("*" in allowed or origin in allowed):
        return []
    is_for_all = "*" in allowed and not cors.allow_credentials
    granted = [(b"access-control-allow-origin", b"*" if is_for_all else origin.encode("latin-1"))]
    if cors.allow_credentials:
        granted.append((b"access-control-allow-credentials", b"true"))
    if not is_for_all:
        granted.append((b"vary", b"Origin"))
    return granted


def _joined(values: Sequence[str]) -> bytes:
    return ",".join(values).encode("latin-1", "replace")
