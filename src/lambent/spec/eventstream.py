"""Frames of AWS's event stream (`application/vnd.amazon.eventstream`), as InvokeWithResponseStream answers them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

STRING = 7
_PRELUDE = struct.Struct(">II")
_CHECKSUM = struct.Struct(">I")


def encode_frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One message: total and header lengths, their checksum, headers, payload, checksum of it all."""
    encoded = b"".join(_encode_header(name.encode(), value.encode()) for name, value in headers.items())
    total = _PRELUDE.size + _CHECKSUM.size + len(encoded) + len(payload) + _CHECKSUM.size
    prelude = _PRELUDE.pack(total, len(encoded))
    message = b"".join((prelude, _CHECKSUM.pack(zlib.crc32(prelude)), encoded, payload))
    return message + _CHECKSUM.pack(zlib.crc32(message))


def _encode_header(name: bytes, value: bytes) -> bytes:
    return struct.pack(f">B{len(name)}sBH{len(value)}s", len(name), name, STRING, len(value), value)
