"""Names for requests: unique, not secret, so they need no system call each."""

from __future__ import annotations

import random

_draw = random.Random(random.SystemRandom().getrandbits(256)).getrandbits


def new_request_id() -> str:
    """A version 4 UUID."""
    digits = f"{_draw(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{'89ab'[_draw(2)]}{digits[17:20]}-{digits[20:]}"
