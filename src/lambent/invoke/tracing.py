"""The X-Amzn-Trace-Id that an invocation carries (reference/lifecycle.md §13).

The caller's decision whether to sample stands; where there is none, a function with active tracing decides as X-Ray's
default rule does: the first request of each second, and five percent of the others. Segments are sent nowhere.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable

from lambent.model.arn import FunctionArn
from lambent.model.function import FunctionVersion

_SHARE = 0.05
_getrandbits = random.Random(random.SystemRandom().getrandbits(256)).getrandbits
_ROOT = re.compile(r"1-[0-9a-f]{8}-[0-9a-f]{24}")
_DECISIONS = ("0", "1")


class Tracing:
    def __init__(
        self,
        *,
        now: Callable[[], float] = time.time,
        bits: Callable[[int], int] = _getrandbits,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._now = now
        self._bits = bits
        self._draw = draw
        self._sampled_second: dict[FunctionArn, int] = {}

    def header(self, given: str | None, version: FunctionVersion) -> str:
        """What the invocation of this version carries; members of `given` that are not ours stay."""
        if given is None:
            now, digits = format(int(self._now()), "08x"), format(self._bits(160), "040x")
            return f"Root=1-{now}-{digits[:24]};Parent={digits[24:]};Sampled={self._decision(version)}"
        fields = dict(part.strip().partition("=")[::2] for part in given.split(";"))
        if _ROOT.fullmatch(fields.get("Root", "")) and "Parent" in fields and fields.get("Sampled") in _DECISIONS:
            return given
        return self._completed(fields, version)

    def _completed(self, fields: dict[str, str], version: FunctionVersion) -> str:
        root = fields.pop("Root", "")
        if not _ROOT.fullmatch(root):
            root = self._new_root()
        parent = fields.pop("Parent", "") or f"{self._bits(64):016x}"
        sampled = fields.pop("Sampled", "")
        if sampled not in _DECISIONS:
            sampled = self._decision(version)
        others = "".join(f";{name}={value}" for name, value in fields.items() if name and value)
        return f"Root={root};Parent={parent};Sampled={sampled}{others}"

    def _new_root(self) -> str:
        return f"1-{int(self._now()):08x}-{self._bits(96):024x}"

    def _decision(self, version: FunctionVersion) -> str:
        if version.tracing_mode != "Active":
            return "0"
        second = int(self._now())
        if self._sampled_second.get(version.arn) != second:
            self._sampled_second[version.arn] = second
            return "1"
        return "1" if self._draw() < _SHARE else "0"
