"""As many environments alive at once as are asked for: whether all are let in, and what the host gives for each."""

from __future__ import annotations

import threading

import psutil

from benchmarks.lambent import Target

_SLEEPS_S = 20
_CODE = f"import time\ndef handler(event, context):\n    time.sleep({_SLEEPS_S})\n"
_LOOK_S = 0.5


class _Least:
    """The least memory that the host has available, and the most environments, while this is entered."""

    def __init__(self, server: Target) -> None:
        self._server = server
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.available_mib = self.available_before_mib = _available_mib()
        self.alive_before = self.alive = server.environments()

    def __enter__(self) -> _Least:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(_LOOK_S):
            self.available_mib = min(self.available_mib, _available_mib())
            self.alive = max(self.alive, self._server.environments())


def alive(server: Target, count: int) -> dict[str, object]:
    """That many first calls at once of a function of 128 MB, none of which ends before the last has begun."""
    server.deploy("long-sleeper", _CODE, Timeout=180)
    with _Least(server) as least:
        measured = server.load("long-sleeper", connections=count, count=count)
    server.remove("long-sleeper")
    more = least.alive - least.alive_before
    return {
        "what": f"{count} first calls of a {_SLEEPS_S} s function",
        "environments alive": more,
        "failures": measured.failures,
        "host MiB for each": round((least.available_before_mib - least.available_mib) / max(1, more), 2),
        "all answered s": round(measured.elapsed_s, 1),
    }


def _available_mib() -> float:
    return float(psutil.virtual_memory().available / 2**20)
