"""A midwife: has environments forked from one template, and walls each in before it runs a single instruction.

The template is a function's own process, behind the walls every sandbox has, and can be trusted no more than any: it is
never given a privilege, a descriptor or a say. It stands before a fork, held by ptrace, and never leaves that; the
midwife makes the fork one into new namespaces, builds the child's walls around it while it cannot move, takes its
privileges in its new user namespace away, and looks whether all is as it must be before it lets go (decision 0010).

A process of its own for each template, so that one which never comes to its fork keeps nobody else waiting. Root, as
sandboxd is, whose orders alone it takes; it ends with sandboxd, and its template with it.
"""

from __future__ import annotations

import _socket
import json
import os
import signal
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from lambent.worker.sandbox import affinity, init, inner_wire, kernel, process_tree
from lambent.worker.sandbox.furnishing import OUTPUT_NAME, furnish
from lambent.worker.sandbox.inner_wire import Mount, Walls
from lambent.worker.sandbox.tracing import Astray, Tracee, has_any_ended
from lambent.worker.sandbox.walls import StepFailed, step

_REST_TIMEOUT_S = 10.0
"""How long a template may take to come to rest, and to bear a child."""
_WALLS = (
    kernel.CLONE_PARENT  # PID 1 of the template's sandbox waits for it, and tells how it ends
    | kernel.CLONE_NEWUSER
    | kernel.CLONE_NEWPID
    | kernel.CLONE_NEWNS
    | kernel.CLONE_NEWNET
    | kernel.CLONE_NEWIPC
    | kernel.CLONE_NEWUTS
)
GO = b"go"


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """Where the midwife itself lives."""

    pid_namespace: int
    last_capability: int
    processors: Sequence[int]
    masks: Sequence[Mount]


class Order(NamedTuple):
    """A child to be had. Descriptors are the holder's own."""

    walls: Walls
    mounts: Mapping[str, int]
    """Detached, by where they are to be."""
    cgroup_procs: Sequence[int]


def write_order(order: Order) -> tuple[bytes, list[int]]:
    """An order as a packet and its descriptors."""
    packet = json.dumps([order.walls, list(order.mounts)]).encode()
    return packet, [*order.mounts.values(), *order.cgroup_procs]


def _read_order(packet: bytes, descriptors: Sequence[int]) -> Order:
    walls, targets = json.loads(packet)
    mounts = dict(zip(targets, descriptors, strict=False))
    return Order(inner_wire.read_walls(walls), mounts, descriptors[len(mounts) :])


class Bereft(Exception):
    """The template has ended, as all do."""


def tend(control: _socket.socket, pid_1: int, home: Home) -> NoReturn:
    """The whole life of a midwife, in a fresh child of sandboxd. `pid_1` is the template's sandbox's."""
    try:
        kernel.die_with_parent(signal.SIGKILL)
        kernel.set_name("lambent-midwife")
        affinity.leave_one(home.processors)
        init.close_all_but(control.fileno(), home.pid_namespace)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGALRM, _too_late)
        template = Tracee.seize(_runtime_of(pid_1))
        inner_wire.send(control, "Watching")
        signal.setitimer(signal.ITIMER_REAL, _REST_TIMEOUT_S)
        _lay_to_rest(template, pid_1)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _serve(control, template, home)
    except Bereft:
        pass
    except (OSError, Astray) as exc:
        os.write(2, f"midwife of {pid_1}: {exc}\n".encode())
    finally:
        os._exit(1)


def _lay_to_rest(template: Tracee, pid_1: int) -> None:
    """From here on nothing runs in the template: what is left of it is what its children begin with."""
    template.run_to_fork()
    held = {template.pid}
    while threads := {int(thread) for thread in os.listdir(f"/proc/{template.pid}/task")} - held:
        for thread in threads:
            with suppress(ProcessLookupError, Astray):
                Tracee.seize(thread)
        held |= threads
    while others := [pid for pid in process_tree.descendants(pid_1) if pid != template.pid]:
        for pid in others:
            with suppress(ProcessLookupError, FileNotFoundError, PermissionError):  # by all of these it has ended
                _kill_beside(pid_1, pid)


def _kill_beside(pid_1: int, pid: int) -> None:
    """Unless the number has come to stand for another sandbox's process, or the host's.

    Raises:
        ProcessLookupError, FileNotFoundError, PermissionError: it ended meanwhile. The last where its folder in /proc
            was there still: then nobody may see its namespaces.
    """
    process = os.pidfd_open(pid)
    try:
        if os.path.samestat(os.stat(f"/proc/{pid}/ns/pid"), os.stat(f"/proc/{pid_1}/ns/pid")):
            signal.pidfd_send_signal(process, signal.SIGKILL)
    finally:
        os.close(process)


def _serve(control: _socket.socket, template: Tracee, home: Home) -> None:
    while True:
        inner_wire.send(control, "Resting")
        packet, descriptors = _next_order(control)
        if not packet:
            return
        signal.setitimer(signal.ITIMER_REAL, _REST_TIMEOUT_S)
        try:
            _deliver(control, template, _read_order(packet, descriptors), home)
        except StepFailed as failure:
            inner_wire.send(control, "Failed", step=failure.step, error=str(failure.error))
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _next_order(control: _socket.socket) -> tuple[bytes, list[int]]:
    """Wait for it, but not longer than the template lives: the dead are not buried while somebody holds them."""
    signal.signal(signal.SIGCHLD, _bereft)
    try:
        if has_any_ended():
            raise Bereft
        return inner_wire.receive(control)
    finally:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _bereft(signum: int, frame: object) -> NoReturn:
    raise Bereft


def _deliver(control: _socket.socket, template: Tracee, order: Order, home: Home) -> None:
    with step("fork from the template"):
        child = template.fork(_WALLS)
    try:
        pids = _wall_in(child, order, home)
        with step("find network namespace and output"):
            network = os.open(f"/proc/{child.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            output = os.open(f"/proc/{child.pid}/root/tmp/{OUTPUT_NAME}", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        inner_wire.send(control, "Born", [network, output], pid=child.pid, pid_beside_template=pids[-2])
        for descriptor in (network, output):
            os.close(descriptor)
        packet, _ = inner_wire.receive(control)
        if packet != GO:
            raise StepFailed("be told to go", OSError("it is not wanted any more"))
        child.let_go()
    except BaseException:
        child.kill()
        raise


def _runtime_of(pid_1: int) -> int:
    """The first process that PID 1 has started, which is the runtime."""
    with open(f"/proc/{pid_1}/task/{pid_1}/children") as children:
        return int(children.read().split()[0])


def _too_late(signum: int, frame: object) -> NoReturn:
    raise Astray("it has not come to its fork")


# One child ------------------------------------------------------------------------------------------------------------


def _wall_in(child: Tracee, order: Order, home: Home) -> Sequence[int]:
    """Everything that parts it from the host and from its template. Returns its pids, the host's first."""
    walls = order.walls
    with step("map identity"):
        for name in ("uid_map", "gid_map"):
            _write(f"/proc/{child.pid}/{name}", f"{walls.uid} {walls.uid} 1")
    with step("join cgroups"):
        for procs in order.cgroup_procs:
            os.write(procs, str(child.pid).encode())
    furnish(child.pid, walls, order.mounts, home.masks, home.pid_namespace)
    with step("drop privileges"):
        nothing = child.place(struct.pack("=Ii", kernel.CAPABILITY_VERSION_3, 0) + bytes(24))
        child.call(
            ("unshare", kernel.CLONE_NEWCGROUP),
            *(("prctl", kernel.PR_CAPBSET_DROP, which, 0, 0, 0) for which in range(home.last_capability + 1)),
            ("prctl", kernel.PR_SET_SECUREBITS, kernel.SECUREBITS_ALL_LOCKED, 0, 0, 0),
            ("setresgid", walls.uid, walls.uid, walls.uid),
            ("setresuid", walls.uid, walls.uid, walls.uid),
            ("capset", nothing, nothing + 8),
        )
    return _require_walled_in(child.pid, walls.uid)


def _require_walled_in(pid: int, uid: int) -> Sequence[int]:
    """See that nothing is left to it that a function may not have, whatever its template may have tried."""
    with step("look at the walls"), open(f"/proc/{pid}/status") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    expected = {
        "Uid": "\t".join(4 * [str(uid)]),
        "Gid": "\t".join(4 * [str(uid)]),
        "Groups": "",
        **{f"Cap{which}": f"{0:016x}" for which in ("Inh", "Prm", "Eff", "Bnd", "Amb")},
        "NoNewPrivs": "1",
        "Seccomp": "2",
    }
    for name, value in expected.items():
        if status[name].strip() != value:
            raise StepFailed("look at the walls", OSError(f"{name} is {status[name]}, not {value}"))
    return [int(one) for one in status["NSpid"].split()]


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
