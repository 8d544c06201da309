"""How HTTP/1.1 messages are written: heads, chunks and trailers, for the server and the client alike. Pure."""

from __future__ import annotations

import time
from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus

Header = tuple[bytes, bytes]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n"
END = b"\r\n"

JOINED_BYTES = 16 * 1024
"""A body up to this size is copied behind its head: one buffer is cheaper to write than two."""

_STATUS_LINES = {status.value: b"HTTP/1.1 %d %s\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}


def has_body(status: int) -> bool:
    """Whether answers of this status may carry a body (RFC 9110 §6.4.1)."""
    return status >= 200 and status != 204 and status != 304


def status_line(status: int) -> bytes:
    line = _STATUS_LINES.get(status)
    if line is not None:
        return line
    if not 100 <= status <= 999:
        raise ValueError(f"a status has three digits, not {status}")
    return b"HTTP/1.1 %d \r\n" % status


_date: tuple[int, bytes] = (0, b"")


def date_line() -> bytes:
    """The Date header, made once a second."""
    global _date
    now = int(time.time())
    if _date[0] != now:
        _date = (now, b"date: %b\r\n" % formatdate(now, usegmt=True).encode())
    return _date[1]


def head(first_line: bytes, headers: Sequence[Header] | bytes, framing: bytes) -> bytes:
    """A whole head: its first line, the caller's headers, then `framing`, the lines that the engine alone decides on.

    Headers given as bytes are whole lines, whose author answers for there being no line break in a value.

    Raises:
        ValueError: a header holds a line break, which would let its author write the rest of the message.
    """
    if isinstance(headers, bytes):
        return b"%b%b%b\r\n" % (first_line, headers, framing)
    lines = b"".join([b"%b: %b\r\n" % header for header in headers])
    if lines.count(b"\n") != len(headers) or lines.count(b"\r") != len(headers):
        raise ValueError(f"a header name or value holds a line break: {list(headers)!r}")
    return b"%b%b%b\r\n" % (first_line, lines, framing)


def trailers(headers: Sequence[Header]) -> bytes:
    """What ends a chunked body."""
    return head(LAST_CHUNK, headers, b"")


def chunk(data: bytes) -> list[bytes]:
    """One chunk of a body, in pieces: the data itself is not copied."""
    return [b"%x\r\n" % len(data), data, END]


def origin_form(target: bytes) -> bytes:
    """The path and query of a request target; one in absolute form (RFC 9112 §3.2.2) loses scheme and authority."""
    if target.startswith(b"/"):
        return target
    scheme, found, rest = target.partition(b"://")
    if not found or scheme.lower() not in (b"http", b"https"):
        return target
    authority_end = min((end for end in (rest.find(b"/"), rest.find(b"?")) if end >= 0), default=len(rest))
    path = rest[authority_end:]
    return path if path.startswith(b"/") else b"/" + path
