"""What all sandboxes of a server share, prepared before the first of them and taken away after the last."""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from lambent.model.errors import PlatformError
from lambent.model.limits import EPHEMERAL_STORAGE_MIB_MINIMUM
from lambent.worker.sandbox import affinity, kernel, plan, wire
from lambent.worker.sandbox.cgroups import Cgroups, hold_joins_quick
from lambent.worker.sandbox.inner_wire import Ground, Mount
from lambent.worker.sandbox.network import Egress, Network
from lambent.worker.sandbox.plan import Level, MountKind, mounts_inside
from lambent.worker.sandbox.resolver import resolver_config
from lambent.worker.sandbox.root import build_root
from lambent.worker.sandbox.scratch import ScratchMaker
from lambent.worker.sandbox.seccomp import compile_filter
from lambent.worker.sandbox.walls import step


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """What all sandboxes of this server share behind their walls."""

    network: Network
    scratch: ScratchMaker
    ground: Ground
    own_pid_namespace: int
    uid_base: int | None
    """None: in a user namespace, where there is only one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What all sandboxes of this server share. No isolation: the level `process`."""

    cgroups: Cgroups
    run_dir: Path
    isolation: Isolation | None


def prepare_host(orders: wire.Orders, stack: ExitStack) -> tuple[Host, list[str]]:
    """Make ready what sandboxes share; `stack` takes it away. With what does not bite here, in words for a person."""
    if orders.level is not Level.FULL and orders.egress != Egress.NONE:
        raise PlatformError(f"egress {orders.egress} takes root: start as root, or serve with --egress none")
    _, files_maximum = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files_maximum, files_maximum))
    state = Path(orders.state_dir)
    run = state / "run"
    _await_predecessor(state)
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(mode=0o700, parents=True)
    cgroups = Cgroups.of_this_process(orders.server_id)
    shortcomings = cgroups.prepare()
    stack.callback(cgroups.clean)
    if orders.level is Level.FULL and (quick := hold_joins_quick(f"lambent-{orders.server_id}")) is not None:
        stack.callback(os.close, quick)
    if orders.level is Level.PROCESS:
        shortcomings.append("functions run as this user, with this user's files, network and processes in reach")
        return Host(cgroups=cgroups, run_dir=run, isolation=None), shortcomings
    with step("make a mount namespace"):
        kernel.unshare(kernel.CLONE_NEWNS)
        kernel.make_mounts_private()
        kernel.place_mount(kernel.new_filesystem("tmpfs", (("mode", "700"),), 0), str(run))
    isolation, more = _prepare_isolation(orders, state, run, stack)
    return Host(cgroups=cgroups, run_dir=run, isolation=isolation), shortcomings + more


def _await_predecessor(state: Path) -> None:
    """One whose server was killed may still clear away what is now ours. The lock is held until we have ended."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)


def _prepare_isolation(orders: wire.Orders, state: Path, run: Path, stack: ExitStack) -> tuple[Isolation, list[str]]:
    images, mounts, root = state / "images", run / "tmp", run / "root"
    for directory in (images, mounts, root):
        directory.mkdir(mode=0o700, exist_ok=True)
    network = Network(orders.server_id, Egress(orders.egress))
    network.start()
    stack.callback(network.stop)
    scratch = ScratchMaker(images, mounts)
    shortcomings = scratch.prepare(EPHEMERAL_STORAGE_MIB_MINIMUM)
    is_full = orders.level is Level.FULL
    resolv_conf = "" if orders.egress == Egress.NONE else resolver_config()
    isolation = Isolation(
        network=network,
        scratch=scratch,
        ground=Ground(
            host_namespace=os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC),
            root_namespace=build_root(root, resolv_conf, can_make_devices=is_full),
            seccomp_program=compile_filter(os.uname().machine),
            last_capability=int(Path("/proc/sys/kernel/cap_last_cap").read_text()),
            processors=affinity.of_this_process(),
            made_inside=_made_inside(),
        ),
        own_pid_namespace=os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC),
        uid_base=orders.uid_base if is_full else None,
    )
    return isolation, shortcomings


def _made_inside() -> tuple[Mount, ...]:
    """Masked is what this host's /proc has."""
    return tuple(Mount(one.kind, one.target, _sources(one)) for one in mounts_inside() if os.path.exists(one.target))


def _sources(mount: plan.Mount) -> tuple[str, ...]:
    """What lies over what is masked: something of the root that is as empty."""
    if mount.kind is not MountKind.MASK:
        return ()
    return ("/home" if os.path.isdir(mount.target) else "/dev/null",)
