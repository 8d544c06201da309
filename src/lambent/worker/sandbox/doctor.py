"""What this host can give a sandbox, found out by trying, and what to do about the rest."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lambent.model.errors import PlatformError
from lambent.worker.sandbox import kernel, userns
from lambent.worker.sandbox.cgroups import REMEDY, Controller, Tree, own_trees
from lambent.worker.sandbox.network import probe_egress
from lambent.worker.sandbox.plan import Level
from lambent.worker.sandbox.processors import LINUX_POLL_NS, POLL_NS, SYSFS, poll_ns
from lambent.worker.sandbox.sandboxd_start import uid_block
from lambent.worker.sandbox.seccomp import compile_filter

_NAMESPACES = (
    kernel.CLONE_NEWNS
    | kernel.CLONE_NEWPID
    | kernel.CLONE_NEWNET
    | kernel.CLONE_NEWIPC
    | kernel.CLONE_NEWUTS
    | kernel.CLONE_NEWCGROUP
)
_KERNEL_MINIMUM = (5, 12)
"""mount_setattr; everything else is older."""
_POLLING = (
    f"as root, `echo {LINUX_POLL_NS} > /sys/{POLL_NS}`, which is Linux's own default; "
    f"to keep it, the line `w /sys/{POLL_NS} - - - - {LINUX_POLL_NS}` in /etc/tmpfiles.d/haltpoll.conf, "
    f"or haltpoll.guest_halt_poll_ns={LINUX_POLL_NS} on the kernel's command line"
)
"""Part of the kernel and never a module of its own: what modprobe.d says is not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One capability of the host. `remedy` is empty where it is there. Of a hint, nothing but time depends on it."""

    name: str
    is_there: bool
    found: str
    meaning: str
    remedy: str = ""
    is_hint: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReport:
    """The isolation level sandboxes reach on this host, for the user who asks, and what it rests on."""

    level: Level
    findings: tuple[Finding, ...]


def probe() -> HostReport:
    """Examine this host as the current user. Nothing of what is tried stays."""
    is_new_enough = _kernel_version() >= _KERNEL_MINIMUM
    has_namespaces, why_not = _try_in_child(lambda: kernel.unshare(_NAMESPACES))
    has_user_namespaces, why_no_user = _try_in_child(_try_user_namespace)
    findings = (
        _kernel(is_new_enough),
        _namespaces(has_namespaces, has_user_namespaces, why_not),
        _user_namespaces(has_user_namespaces, why_no_user),
        *_cgroups(),
        _uids(),
        _seccomp(),
        _scratch(),
        _egress(),
        *idle_processors(),
    )
    if is_new_enough and has_namespaces:
        return HostReport(level=Level.FULL, findings=findings)
    if is_new_enough and has_user_namespaces:
        return HostReport(level=Level.USERNS, findings=findings)
    return HostReport(level=Level.PROCESS, findings=findings)


def _kernel_version() -> tuple[int, int]:
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int("".join(filter(str.isdigit, minor)))


def _try_in_child(attempt: Callable[[], None]) -> tuple[bool, str]:
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        reason = b""
        try:
            attempt()
        except OSError as exc:
            reason = str(exc.strerror or exc).encode()
        finally:
            os.write(writable, reason or b"ok")
            os._exit(0)
    os.close(writable)
    with open(readable, "rb") as answer:
        text = answer.read().decode()
    os.waitpid(pid, 0)
    return text == "ok", text


def _try_user_namespace() -> None:
    uid, gid = os.geteuid(), os.getegid()
    kernel.unshare(kernel.CLONE_NEWUSER | _NAMESPACES)
    userns.map_identity(inside=0, outside_uid=uid, outside_gid=gid)


def _kernel(is_there: bool) -> Finding:
    return Finding(
        name="kernel",
        is_there=is_there,
        found=os.uname().release,
        meaning="sandboxes are put together with Linux's newer mount calls",
        remedy="" if is_there else f"Linux {_KERNEL_MINIMUM[0]}.{_KERNEL_MINIMUM[1]} or newer is needed",
    )


def _namespaces(has_privilege: bool, has_user_namespaces: bool, why_not: str) -> Finding:
    is_there = has_privilege or has_user_namespaces
    where = "" if has_privilege else ", within a user namespace"
    return Finding(
        name="namespaces",
        is_there=is_there,
        found=f"mount, PID, network, IPC, UTS, cgroup{where}" if is_there else why_not,
        meaning="each environment has its own files, processes, network and host name",
        remedy="" if is_there else "start Lambent as root (in a container: with CAP_SYS_ADMIN)",
    )


def _user_namespaces(is_there: bool, why_not: str) -> Finding:
    return Finding(
        name="user namespaces",
        is_there=is_there,
        found="available" if is_there else why_not,
        meaning="an ordinary user gets the same walls, but one host uid for all environments",
        remedy="" if is_there else "allow them: sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone",
    )


def _cgroups() -> list[Finding]:
    trees = own_trees()
    meanings = {
        Controller.MEMORY: "MemorySize is a limit, and running out of it is no mere crash",
        Controller.CPU: "the share of a CPU follows MemorySize",
        Controller.PIDS: "a fork bomb ends at 1,024 processes",
        Controller.FREEZER: "an idle environment costs no CPU; the fallback, SIGSTOP, can be noticed",
    }
    return [_controller(controller, trees, meaning) for controller, meaning in meanings.items()]


def _controller(controller: Controller, trees: list[Tree], meaning: str) -> Finding:
    reason = "no cgroup tree has it"
    for tree in trees:
        if not tree.serves(controller):
            continue
        try:
            rehearsal = tree.directory / f"lambent-probe-{os.getpid()}"
            rehearsal.mkdir()
            rehearsal.rmdir()
        except OSError as exc:
            reason = f"{tree.directory}: {exc.strerror}"
        else:
            return Finding(
                name=f"cgroup {controller}",
                is_there=True,
                found=f"version {tree.version}, {tree.directory}",
                meaning=meaning,
            )
    return Finding(
        name=f"cgroup {controller}",
        is_there=False,
        found=reason,
        meaning=meaning,
        remedy=REMEDY,
    )


def _uids() -> Finding:
    first, last = uid_block("")
    maps = [tuple(map(int, line.split())) for line in Path("/proc/self/uid_map").read_text().splitlines()]
    has_range = any(start <= first and last < start + count for start, _, count in maps)
    is_there = has_range and os.geteuid() == 0
    why_not = "only root may use them" if has_range else "this process lives in a user namespace that lacks them"
    return Finding(
        name="host uids",
        is_there=is_there,
        found=f"such as {first} to {last}" if is_there else why_not,
        meaning="environments differ in host uid, so that limits and permissions of one never touch another",
        remedy="" if is_there else "start as root, outside of a user namespace",
    )


def _seccomp() -> Finding:
    try:
        compile_filter(os.uname().machine)
        is_there, found = Path("/proc/sys/kernel/seccomp").is_dir(), "filters available"
    except PlatformError as exc:
        is_there, found = False, str(exc)
    return Finding(
        name="seccomp",
        is_there=is_there,
        found=found if is_there else found or "the kernel has no filters",
        meaning="a function reaches only the system calls that functions need",
        remedy="" if is_there else "a kernel with CONFIG_SECCOMP_FILTER, on x86_64 or aarch64",
    )


def _scratch() -> Finding:
    has_loop = os.access("/dev/loop-control", os.R_OK | os.W_OK)
    has_mkfs = shutil.which("mkfs.ext4", path="/usr/sbin:/sbin:/usr/bin") is not None
    return Finding(
        name="loop devices and mkfs.ext4",
        is_there=has_loop and has_mkfs,
        found="both" if has_loop and has_mkfs else f"loop: {has_loop}, mkfs.ext4: {has_mkfs}",
        meaning="/tmp has its configured size and is not counted as the function's memory",
        remedy="" if has_loop and has_mkfs else "start as root, with the package e2fsprogs installed",
    )


def _egress() -> Finding:
    is_there, found = probe_egress()
    return Finding(
        name="egress",
        is_there=is_there,
        found=found,
        meaning="functions reach the network outside, as on AWS, but neither the host nor each other",
        remedy="" if is_there else "see what was found; `--egress none` needs nothing",
    )


def idle_processors(sysfs: Path = SYSFS) -> list[Finding]:
    """A hint, and only where the virtual machine's own haltpoll decides how its processors idle."""
    longest_ns = poll_ns(sysfs)
    if longest_ns is None:
        return []
    return [
        Finding(
            name="idle processors that poll",
            is_there=longest_ns > 0,
            found=f"for {longest_ns / 1000:g} us before they halt" if longest_ns else "they halt at once",
            meaning="a warm invoke takes less than half as long: no step of it waits for the host to wake a processor",
            remedy="" if longest_ns else _POLLING,
            is_hint=True,
        )
    ]
