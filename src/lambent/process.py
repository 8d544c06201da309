"""The process of a server: what it does from its start until it listens, and when it is told to stop.

The privileged process is started first; what the server itself is made of, `roles`, is loaded while that one starts.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import logging
import os
import signal
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from lambent import compiled, privileges
from lambent.adapters.files import lock
from lambent.config import Egress, ServeOptions, is_loopback, spare_sandboxes
from lambent.heap import share_one_heap
from lambent.model.errors import PlatformError
from lambent.service_log import start_service_log
from lambent.worker.host_memory import HostMemory
from lambent.worker.runtime_dirs import compile_client, prepare_empty, prepare_node, prepare_python
from lambent.worker.runtimes import Interpreter, discover
from lambent.worker.sandbox.client import Sandboxes
from lambent.worker.sandbox.network import probe_egress
from lambent.worker.sandbox.plan import ZygotePlan
from lambent.worker.sandbox.sandboxd_start import SandboxOptions
from lambent.worker.zygotes import zygote_plans

if TYPE_CHECKING:
    from lambent.roles import Host
    from lambent.spec.service import Service

log = logging.getLogger(__name__)


def serve(options: ServeOptions) -> int:
    """Run a server until it is told to stop; returns the process's exit status."""
    start_service_log()
    share_one_heap()
    gc.disable()  # until it has started: nothing of what is made meanwhile is garbage
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(options))
    except PlatformError as exc:
        log.error("server.cannot_start", extra={"reason": str(exc)})
        return 1
    except asyncio.CancelledError:
        log.warning("server.stopped_in_a_hurry", extra={"reason": "told twice to stop; running invokes were ended"})
        return 1
    return 0


async def _serve(options: ServeOptions) -> None:
    async with AsyncExitStack() as stack:
        data_dir = _open_data_dir(options.data_dir, stack)
        interpreters = tuple(discover())
        runtime_dirs = await asyncio.to_thread(_prepare_runtime_dirs, data_dir / "runtime", interpreters)
        egress = _choose_egress(options)
        zygotes = zygote_plans(interpreters, runtime_dirs["python"])
        sandboxes, (Host, services) = await asyncio.gather(
            _launch_sandboxes(options, egress, data_dir, zygotes, stack), asyncio.to_thread(_load_parts)
        )
        if options.user is not None:  # who could not write there
            await compile_client(runtime_dirs["python"], interpreters)
        privileges.drop(user=options.user, data_dir=data_dir)
        host = Host(options, egress, data_dir, interpreters, runtime_dirs, sandboxes, services)
        server, drains = await host.start(stack)
        stopping = _stop_signal()
        gc.collect()
        gc.freeze()  # what is here now is here to stay: a later collection, 50 ms with it, leaves it out
        gc.enable()
        await server.listen(options.listen_host, options.listen_port)
        log.info(
            "server.ready",
            extra={"listen": f"{options.listen_host}:{options.listen_port}", "compiled": compiled.is_in_use()},
        )
        await stopping.wait()
        log.info("server.draining", extra={"timeout_s": options.drain_timeout_s})
        await asyncio.gather(*(drain(options.drain_timeout_s) for drain in drains))
    log.info("server.stopped")


def _open_data_dir(path: Path, stack: AsyncExitStack) -> Path:
    data_dir = path.absolute()
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    stack.callback(os.close, lock.hold(data_dir))
    return data_dir


def _load_parts() -> tuple[type[Host], Mapping[str, Service]]:
    """What most of a start's work is; sandboxd's start takes about as long."""
    from lambent.roles import Host, load_services

    return Host, load_services()


def _choose_egress(options: ServeOptions) -> Egress:
    if options.egress is not Egress.AUTO:
        return options.egress
    can_egress, reason = probe_egress()
    if not can_egress:
        log.warning("egress.none", extra={"reason": reason})
    return Egress.OPEN if can_egress else Egress.NONE


def _prepare_runtime_dirs(root: Path, interpreters: Iterable[Interpreter]) -> dict[str, Path]:
    """What becomes /var/runtime; made while we are who sandboxd is, for zygotes run it with privileges."""
    nodes = {one.runtime: prepare_node(root, one.runtime) for one in interpreters if one.language == "nodejs"}
    return {"python": prepare_python(root), "none": prepare_empty(root), **nodes}


async def _launch_sandboxes(
    options: ServeOptions, egress: Egress, data_dir: Path, zygotes: tuple[ZygotePlan, ...], stack: AsyncExitStack
) -> Sandboxes:
    """Start the one privileged process, while there are privileges to give."""
    spares_maximum = options.spare_sandboxes
    if spares_maximum is None:
        spares_maximum = spare_sandboxes(HostMemory.of_this_process().total_bytes())
    sandboxes = await Sandboxes.launch(
        SandboxOptions(
            state_dir=data_dir / "sandboxes",
            server_id=hashlib.sha256(str(data_dir).encode()).hexdigest()[:8],
            egress=egress.value,
            level=options.isolation.value,
            zygotes=zygotes,
            spares_maximum=spares_maximum,
        )
    )
    stack.push_async_callback(sandboxes.close)
    if sandboxes.report.level == "process" and not is_loopback(options.listen_host):
        raise PlatformError("this host can isolate nothing (see `lambent doctor`); listen on 127.0.0.1 only")
    log.info("sandboxes.ready", extra={"isolation": sandboxes.report.level, "egress": egress.value})
    for shortcoming in sandboxes.report.shortcomings:
        log.warning("sandboxes.shortcoming", extra={"reason": shortcoming})
    return sandboxes


def _stop_signal() -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT; the second one ends the drain."""
    stopping = asyncio.Event()
    main = asyncio.current_task()

    def stop() -> None:
        if stopping.is_set() and main is not None:
            main.cancel()
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    return stopping
