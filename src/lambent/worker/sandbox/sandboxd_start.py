"""The start of sandboxd: what it is told, at which levels it is tried, and which uids its sandboxes have."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from lambent.model.errors import PlatformError
from lambent.worker.sandbox import wire
from lambent.worker.sandbox.plan import Level, ZygotePlan

_BOOTSTRAP = """\
import sys
sys.path[:0] = sys.argv[3:]
from lambent.worker.sandbox import sandboxd, wire
sandboxd.main(int(sys.argv[1]), wire.read_orders(sys.argv[2]))
"""
_START_TIMEOUT_S = 30.0
_UIDS_PER_SERVER = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxOptions:
    """`state_dir` is private to this server; `server_id` stays the same over its restarts."""

    state_dir: Path
    server_id: str
    egress: str = "none"
    level: str = "auto"
    """A `Level`, or `auto`: the best this host gives."""
    uid_base: int | None = None
    """First of 4,096 host uids that nobody else uses. By default they follow from the server id."""
    zygotes: tuple[ZygotePlan, ...] = ()
    """Those that `start_zygote` may start."""
    spares_maximum: int = 0
    """How many sandboxes may stand ready before anybody wants them."""


def levels_to_try(wanted: str) -> list[Level]:
    """For what `SandboxOptions` calls a level, the best first."""
    if wanted != "auto":
        return [Level(wanted)]
    return [Level.FULL, Level.USERNS, Level.PROCESS] if os.geteuid() == 0 else [Level.USERNS, Level.PROCESS]


def start(options: SandboxOptions, level: Level) -> tuple[subprocess.Popen[bytes], socket.socket, wire.Started]:
    """Start sandboxd and wait for its first word. Blocks."""
    ours, theirs = wire.socket_pair()
    orders = wire.Orders(
        server_id=options.server_id,
        state_dir=str(options.state_dir.absolute()),
        level=level,
        egress=options.egress,
        uid_base=uid_block(options.server_id)[0] if options.uid_base is None else options.uid_base,
        zygotes=options.zygotes,
        spares_maximum=options.spares_maximum,
    )
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _BOOTSTRAP, str(theirs.fileno()), wire.write_orders(orders), *sys.path],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the server, which then ends its sandboxes in order
        )
    try:
        ours.settimeout(_START_TIMEOUT_S)
        received = wire.receive_report(ours)
        if received is not None and isinstance(received[0], wire.Started):
            return process, ours, received[0]
        failed = received[0] if received else None
        raise PlatformError(failed.error if isinstance(failed, wire.Failed) else "sandboxd died while starting")
    except BaseException:
        ours.close()
        process.send_signal(signal.SIGKILL)
        process.wait()
        raise


def uid_block(server_id: str) -> tuple[int, int]:
    """First and last host uid of a server's sandboxes, above what distributions and directory services hand out."""
    first = 1_900_000_000 + crc32(server_id.encode()) % 2_048 * _UIDS_PER_SERVER
    return first, first + _UIDS_PER_SERVER - 1
