"""What one connection may ask of a server, in bytes and seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Whoever goes beyond is answered 431, 413 or 408 and disconnected. A timeout of None waits for ever."""

    head_bytes: int = 1024 * 1024
    """Request line and headers together (reference/runtime-api.md §4)."""
    body_bytes: int = 6 * 1024 * 1024
    head_timeout_s: float | None = 30.0
    body_timeout_s: float | None = 30.0
    """Without one byte of progress, in either direction."""
    idle_timeout_s: float | None = 75.0
    """Between two requests of one connection."""
