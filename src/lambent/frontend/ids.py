"""Names for requests and traces: unique, not secret, so they need no system call each."""

from __future__ import annotations

import random
import time

_draw = random.Random(random.SystemRandom().getrandbits(256)).getrandbits

_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def new_request_id() -> str:
    """A version 4 UUID."""
    digits = format(_draw(128), "032x")
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{_VARIANT[digits[16]]}{digits[17:20]}-{digits[20:]}"


def new_trace_root() -> str:
    """An X-Amzn-Trace-Id that leaves it to the invocation who its parent is and whether it is sampled."""
    return f"Root=1-{int(time.time()):08x}-{_draw(96):024x}"
