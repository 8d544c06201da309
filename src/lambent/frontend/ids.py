"""Names for requests and traces: unique, not secret, so they need no system call each."""

from __future__ import annotations

import random
import time

_draw = random.Random(random.SystemRandom().getrandbits(256)).getrandbits


def new_request_id() -> str:
    """A version 4 UUID."""
    number = _draw(128)
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{'89ab'[number & 3]}{digits[17:20]}-{digits[20:]}"


def new_trace_root() -> str:
    """An X-Amzn-Trace-Id that leaves it to the invocation who its parent is and whether it is sampled."""
    return f"Root=1-{int(time.time()):08x}-{_draw(96):024x}"
