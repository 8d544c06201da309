"""A zygote: an interpreter with our runtime client loaded and no code of anybody, from which environments are forked.

It runs as root, for it builds walls and its children drop every privilege only behind them (decisions 0006, 0011); so
it takes orders from sandboxd alone, and loads nothing but what sandboxd has found to be root's. Python 3.8 and later.

The process that `serve` returns in is a runtime: it stands where the interpreter would stand after starting on
/var/runtime/bootstrap.py in the sandbox, and goes on from there.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import gc
import importlib
import json
import os
import select
import sys
import time
from _socket import socket
from typing import Any, Callable, Dict, NamedTuple, NoReturn, Tuple  # noqa: UP035 - for Python 3.8

from lambent.worker.sandbox import init, inner_wire, kernel
from lambent.worker.sandbox.closing import Closer
from lambent.worker.sandbox.holes import fill_holes
from lambent.worker.sandbox.inner_wire import Ground, Mount, Process
from lambent.worker.sandbox.walls import Builder, StepFailed

BIND_AT_ONCE = "LD_BIND_NOW"
"""A variable that has the loader find every function at the start: else each child would, and copy pages to note it."""
_UNTIL_SETTLED = 12
"""How often something is done until the interpreter has rewritten code for what it meets there, and written it down."""


class _Means(NamedTuple):
    """What it bears with."""

    ground: Ground
    builder: Builder
    closer: Closer


class _Zygote(NamedTuple):
    """All that is kept once it is one: what is let go of in a child has to be copied for that."""

    control: socket
    means: _Means
    name: str
    started_with: Dict[str, str]  # noqa: UP006
    """The variables that its interpreter found."""
    added: Dict[str, str]  # noqa: UP006
    """Those among them that are not the platform's."""
    rehearse: Callable[[], None]


def serve(path: list[str]) -> None:
    """Be a zygote; returns in what one of its children forks, once that is told whose runtime it is.

    `path`: sys.path as it must be.
    """
    zygote = _become_zygote(path)
    _keep_still()
    forked = bear(zygote.control, zygote.means, is_client=True)
    zygote.control.detach()  # in its place comes what the runtime waits at
    _become_runtime(forked, zygote.name)
    if forked.has_time and not _is_told():
        _rehearse(zygote.rehearse, zygote.started_with)
    _become_the_functions(zygote)


def be_plain() -> NoReturn:
    """Be a zygote that bears nothing but PID 1s, until sandboxd is gone."""
    try:
        kernel.set_name("lambent-plain")
        control, ground, orders = _take_orders()
        kernel.forget_variable(BIND_AT_ONCE)
        for _ in range(_UNTIL_SETTLED):
            init.rehearse(ground)
        init.set_resource_limits(orders["resource_limits"])
        means = stand_ready(ground, inner_wire.OWN_NAMESPACES)
        _keep_still()
        bear(control, means, is_client=False)
    except Exception as exc:  # noqa: BLE001 - the end of a process, whoever started it
        os.write(inner_wire.COMPLAINTS, f"zygote: {exc!r}\n".encode())
    os._exit(1)


def _keep_still() -> None:
    """Children share our pages as long as nobody writes to them."""
    gc.collect()
    gc.freeze()
    gc.disable()  # until one of them is a runtime
    fill_holes()


def _take_orders() -> Tuple[socket, Ground, Dict[str, Any]]:  # noqa: UP006
    """Our end of the wire, what all sandboxes stand on, and the rest of what we are told. Any: whatever JSON holds."""
    control = inner_wire.attach(inner_wire.ZYGOTE_CONTROL)
    packet, _ = inner_wire.receive(control)
    orders = json.loads(packet)
    ground = Ground(
        host_namespace=inner_wire.HOST_NAMESPACE,
        root_namespace=inner_wire.ROOT_NAMESPACE,
        seccomp_program=bytes.fromhex(orders["seccomp_program"]),
        last_capability=orders["last_capability"],
        processors=orders["processors"],
        made_inside=[Mount(*mount) for mount in orders["made_inside"]],
    )
    return control, ground, orders


def _become_zygote(path: list[str]) -> _Zygote:
    kernel.set_name("lambent-zygote")
    control, ground, orders = _take_orders()
    kernel.forget_variable(BIND_AT_ONCE)
    started_with = dict(os.environ)
    added = {name: value for name, value in started_with.items() if name not in orders["env"]}
    try:
        _preload(orders["preloads"])
    except BaseException as exc:
        os.write(inner_wire.COMPLAINTS, f"zygote {orders['name']}: {exc!r}\n".encode())
        raise
    sys.path[:] = path
    path.clear()
    importlib.import_module(orders["prologue"])
    rehearse = importlib.import_module(orders["rehearsal"]).rehearse
    del sys.modules[orders["rehearsal"]]
    for _ in range(_UNTIL_SETTLED):
        _rehearse(rehearse, started_with)
        init.rehearse(ground)
    _forget_ourselves()
    modules = sorted({name.partition(".")[0] for name in sys.modules})
    init.set_resource_limits(orders["resource_limits"])
    means = stand_ready(ground, inner_wire.OWN_NAMESPACES)
    inner_wire.send(control, "ZygoteReady", name=orders["name"], modules=modules)
    executable = os.path.basename(sys.executable)
    return _Zygote(control, means, executable, started_with, added, rehearse)


def _preload(modules: list[str]) -> None:
    """The client itself, and what functions are likely to import."""
    sdk = "/var/runtime/site-packages"
    sys.path += ["/var/runtime", sdk]
    for name in modules:
        importlib.import_module(name)


def _forget_ourselves() -> None:
    """Functions may have modules of the same names."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "lambent"]:
        del sys.modules[name]
    sys.path_importer_cache.pop("/run", None)


def stand_ready(ground: Ground, own_namespaces: int) -> _Means:
    """What all that we fork is to have, it inherits."""
    means = _Means(ground, Builder(ground, own_namespaces), Closer(ground))
    init.prefer_to_die(init.SECOND_TO_DIE)
    init.forgo(ground)
    # Who wakes waits for who runs: else each event takes the processor from the server or from another function.
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    return means


def bear(control: socket, means: _Means, *, is_client: bool) -> init.Forked:
    """Fork a PID 1 for every setup that comes. Returns, if this is our client's interpreter, in what one has forked."""
    ground, builder, closer = means
    while True:
        packet, descriptors = inner_wire.receive(control)
        if not packet:  # sandboxd is gone
            os._exit(0)
        setup = inner_wire.read_setup(packet, descriptors)
        told, tell = os.pipe2(os.O_CLOEXEC) if is_client else (None, None)
        descriptors.extend(end for end in (told, tell) if end is not None)
        try:
            assert setup.walls is not None
            last_calls = closer.get_ready(setup, setup.walls, told)
            mount_namespace = builder.enter(setup.walls, setup.network_namespace)
            if (pid := _fork()) == 0:
                return init.run(setup, last_calls, ground, told)
        except StepFailed as failure:
            builder.home()
            inner_wire.send(control, "NotForked", step=failure.step, error=str(failure.error))
        else:
            builder.home()
            descriptors.append(mount_namespace)
            handed_over = [mount_namespace] if tell is None else [mount_namespace, tell]
            inner_wire.send_packet(control, inner_wire.forked(pid), handed_over)
        for descriptor in descriptors:
            os.close(descriptor)


def _fork() -> int:
    try:
        return kernel.fork_sibling()
    except OSError as exc:
        raise StepFailed("fork", exc) from exc


def _become_runtime(forked: init.Forked, name: str) -> None:
    """Everything that a program finds fresh when it is executed, whatever function it is for."""
    os.setsid()
    _signal.set_wakeup_fd(-1)
    for signum in init.HANDLED:
        _signal.signal(signum, _signal.SIG_DFL)
    _signal.signal(_signal.SIGINT, _signal.default_int_handler)
    null = os.open("/dev/null", os.O_RDONLY)
    for ours, theirs in ((null, 0), (forked.output_fd, 1), (forked.output_fd, 2), (forked.told, init.TOLD)):
        os.dup2(ours, theirs)
    kernel.close_range(init.TOLD + 1)
    kernel.show_to_own_uid()
    kernel.set_name(name)
    init.prefer_to_die(init.FIRST_TO_DIE)
    if "_ssl" in sys.modules:
        sys.modules["_ssl"].RAND_add(os.urandom(48), 48.0)


def _rehearse(rehearse: Callable[[], None], present: dict[str, str]) -> None:
    """Whatever is first written to after a fork is copied: now, so that it need not be while somebody waits."""
    rehearse()
    other = {**present, "REHEARSAL": ""}
    _replace_variables(present, other)
    _replace_variables(other, present)


def _become_the_functions(zygote: _Zygote) -> None:
    """Wait until it is told whose this runtime is."""
    process = _wait_to_be_told()
    gc.enable()
    _replace_variables(zygote.started_with, {**process.env, **zygote.added})
    os.chdir(process.cwd)


def _is_told() -> bool:
    return bool(select.select([init.TOLD], [], [], 0)[0])


def _wait_to_be_told() -> Process:
    packet = b""
    while True:
        chunk = os.read(init.TOLD, inner_wire.PACKET_BYTES)
        if not chunk:
            break
        packet += chunk
    if not packet:  # PID 1 is gone
        os._exit(0)
    os.close(init.TOLD)
    return Process(*json.loads(packet))


def _replace_variables(present: dict[str, str], wanted: dict[str, str]) -> None:
    """One by one, for most are as they were."""
    for name in [name for name in present if name not in wanted]:
        del os.environ[name]
    for name, value in wanted.items():
        if present.get(name) != value:
            os.environ[name] = value
    if wanted.get("TZ") != present.get("TZ"):
        time.tzset()
