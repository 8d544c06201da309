"""What a server allows its peers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a peer may send and how slowly; None for no limit. Lambda allows 1 MiB of request line and headers.

    Whoever goes beyond is answered 431, 413, 503 or 408 and hung up on. `body_bytes` leaves streamed bodies alone, and
    so does `bodies_bytes`, which is what larger bodies that are arriving or not answered yet may hold, those of all
    connections together. A connection beyond `connections` is cut without a word.

    `head_timeout_s` counts from the head's first byte, or from the connection's first moment; `idle_timeout_s` between
    requests; `body_timeout_s` is the longest wait for the next 16 KiB of a body, and for a peer that reads no answer.
    """

    head_bytes: int = 1024 * 1024
    body_bytes: int = 70_167_211
    bodies_bytes: int | None = None
    connections: int | None = None
    head_timeout_s: float | None = 30.0
    body_timeout_s: float | None = 30.0
    idle_timeout_s: float | None = 120.0
