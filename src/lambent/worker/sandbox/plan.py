"""What a sandbox is, decided as data: mounts, limits, identity. Pure; `sandboxd` and `init` perform it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from lambent.model.limits import FILE_DESCRIPTORS

USER_NAME = "sbx_user1051"
USER_NAMESPACE_UID = 993
"""Who a function is where it has no host uid of its own."""
RUNTIME_API_HOST = "127.0.0.1"
RUNTIME_API_PORT = 9001
RUNTIME_API_ADDRESS = f"{RUNTIME_API_HOST}:{RUNTIME_API_PORT}"
AWS_ENDPOINT_PORT = 9002
AWS_ENDPOINT_URL = f"http://{RUNTIME_API_HOST}:{AWS_ENDPOINT_PORT}"

CPU_PERIOD_US = 20_000
"""AWS's own: short, so that a small function waits often but never long."""
_CPU_QUOTA_MINIMUM_US = 1_000
"""The kernel takes no less."""

_MIB = 1024 * 1024
_UNLIMITED = -1


class Level(StrEnum):
    """How much a sandbox holds."""

    FULL = "full"
    """A host uid of its own, every limit."""
    USERNS = "userns"
    """All namespaces, but the server's own host uid, and such limits as cgroup delegation allows."""
    PROCESS = "process"
    """No isolation at all: for development, on hosts that give nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessPlan:
    """One process of a sandbox. `argv[0]` is an absolute path inside; `env` is the whole environment."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str = "/var/task"
    zygote: str | None = None
    """The zygote that bears it while there is one; otherwise it is executed, which shows in nothing but time."""
    is_prewarmed: bool = False
    """The interpreter that waits in a prewarmed sandbox becomes it; otherwise, again, it is executed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZygotePlan:
    """One preloaded process from which the environments of many functions are forked: an interpreter, and no code.

    It is started as a runtime process would be, in the same root, so that paths and settings are alike.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    executable: str
    """The host's path of `argv[0]`."""
    runtime_dir: str
    language_dir: str | None = None
    preloads: tuple[str, ...]
    """Modules."""
    prologue: str
    """A module imported last, which does what every runtime begins with."""
    rehearsal: str
    """A module whose `rehearse` does in a waiting child what every invocation does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prewarmed:
    """An interpreter that is started in a sandbox before it is anybody's, and waits there to be told whose it is.

    For languages whose interpreters cannot fork; it serves one function, whose process it becomes.
    """

    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    runtime_dir: str
    language_dir: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxPlan:
    """What one sandbox is made of. The directories are the host's; they must be readable by everyone."""

    sandbox_id: str
    code_dir: str
    """Becomes /var/task."""
    layer_dirs: tuple[str, ...] = ()
    """Become /opt, later ones over earlier ones."""
    runtime_dir: str
    """Becomes /var/runtime."""
    language_dir: str | None = None
    """Becomes /var/lang: an interpreter's prefix."""
    memory_mib: int
    cpu_share: float
    """In vCPUs."""
    pids_maximum: int
    ephemeral_storage_mib: int
    egress: str
    processes: tuple[ProcessPlan, ...] = ()
    """Started at boot."""

    zygote: str | None = None
    """From which its first process is forked, while there is one."""
    prewarmed: Prewarmed | None = None
    """What may wait in a sandbox made ahead for functions like this one."""
    template: str | None = None
    """Id of the sandbox from whose runtime this one's is forked, with all that Init has left in it (SnapStart)."""


class MountKind(StrEnum):
    BIND = "bind"
    OVERLAY = "overlay"
    SCRATCH = "scratch"
    """The sandbox's own /tmp."""
    PROC = "proc"
    MASK = "mask"
    """/dev/null over a file, or an empty directory over a directory, that tells about the host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One mount of a sandbox, over those that every sandbox shares (`root`). All are nosuid and nodev."""

    kind: MountKind
    target: str
    sources: tuple[str, ...] = ()
    """BIND: one; OVERLAY: two or more, the first one on top."""
    read_only: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the cgroups hold a sandbox to."""

    memory_bytes: int
    cpu_quota_us: int
    """Per CPU_PERIOD_US."""
    cpu_boost_quota_us: int
    """The same during Init, which AWS runs on a whole vCPU however small the function."""
    pids_maximum: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a sandbox's processes are. `uid` is also the gid."""

    uid: int
    hostname: str
    passwd: str = field(repr=False)


RESOURCE_LIMITS: Mapping[str, tuple[int, int]] = {
    "RLIMIT_NOFILE": (FILE_DESCRIPTORS, FILE_DESCRIPTORS),
    "RLIMIT_CORE": (1, 1),
    "RLIMIT_STACK": (8 * _MIB, _UNLIMITED),
    "RLIMIT_MEMLOCK": (65_536, 65_536),
    "RLIMIT_MSGQUEUE": (0, 0),
    "RLIMIT_NICE": (0, 0),
    "RLIMIT_RTPRIO": (0, 0),
}
"""Soft and hard (reference/lifecycle.md §8). A core of one byte means none at all; with none, the kernel would still
feed the function's memory to a core handler of the host. A service manager may have allowed the server what would let a
function run before everybody else, whatever its share of the CPU: hence the last two. Processes are counted by cgroup:
RLIMIT_NPROC would count a uid that a second server on the host may use as well."""

MASKED = (
    "/proc/cmdline",
    "/proc/interrupts",
    "/proc/kallsyms",
    "/proc/key-users",
    "/proc/keys",
    "/proc/modules",
    "/proc/pressure",
    "/proc/sysrq-trigger",
    "/proc/timer_list",
)


def plan_mounts(plan: SandboxPlan) -> list[Mount]:
    """The mounts of one sandbox: the function's own, then those that every sandbox has, in the order they are made."""
    scratch = Mount(kind=MountKind.SCRATCH, target="/tmp", read_only=False)
    return [*function_mounts(plan), scratch, *mounts_inside()]


def function_mounts(plan: SandboxPlan) -> list[Mount]:
    """What makes a sandbox that stands ready one of this function's."""
    return [*runtime_mounts(plan), *code_mounts(plan)]


def runtime_mounts(plan: SandboxPlan | Prewarmed) -> list[Mount]:
    """What a function shares with all others of its runtime."""
    mounts = [_bind(plan.runtime_dir, "/var/runtime")]
    if plan.language_dir is not None:
        mounts.append(_bind(plan.language_dir, "/var/lang"))
    return mounts


def code_mounts(plan: SandboxPlan) -> list[Mount]:
    """What is the function's alone."""
    mounts = [_bind(plan.code_dir, "/var/task")]
    if len(plan.layer_dirs) == 1:
        mounts.append(_bind(plan.layer_dirs[0], "/opt"))
    elif plan.layer_dirs:
        mounts.append(Mount(kind=MountKind.OVERLAY, sources=plan.layer_dirs[::-1], target="/opt"))
    return mounts


def mounts_inside() -> list[Mount]:
    """What only a process of the sandbox can mount, for it is /proc as it sees it."""
    return [
        Mount(kind=MountKind.PROC, target="/proc", read_only=False),
        *(Mount(kind=MountKind.MASK, target=path) for path in MASKED),
    ]


def plan_limits(plan: SandboxPlan) -> Limits:
    quota_us = max(round(plan.cpu_share * CPU_PERIOD_US), _CPU_QUOTA_MINIMUM_US)
    return Limits(
        memory_bytes=plan.memory_mib * _MIB,
        cpu_quota_us=quota_us,
        cpu_boost_quota_us=max(quota_us, CPU_PERIOD_US),
        pids_maximum=plan.pids_maximum,
    )


def plan_identity(index: int, uid_base: int | None) -> Identity:
    """Who the sandbox in slot `index` is. No `uid_base`: a user namespace, where all have the server's own host uid."""
    uid = USER_NAMESPACE_UID if uid_base is None else uid_base + index
    return Identity(
        uid=uid,
        hostname=f"169-254-{index // 256}-{index % 256}",
        passwd=(f"root:x:0:0:root:/root:/sbin/nologin\n{USER_NAME}:x:{uid}:{uid}::/home/{USER_NAME}:/sbin/nologin\n"),
    )


_PLACES = re.compile(r"(?<![\w/.-])/(?:var/task|var/runtime|var/lang|opt|tmp)(?![\w.-])")


def in_the_open(
    process: ProcessPlan, places: Mapping[str, str], runtime_api_address: str, endpoint_address: str
) -> ProcessPlan:
    """The process as it runs without walls: real directories for those of a sandbox, and the listeners' real addresses.

    `places` maps /var/task and the like to directories of the host.
    """

    def translate(text: str) -> str:
        return _PLACES.sub(lambda match: places.get(match[0], match[0]), text)

    env = {name: translate(value) for name, value in process.env.items()}
    env |= {"AWS_LAMBDA_RUNTIME_API": runtime_api_address, "TMPDIR": places["/tmp"]}
    if env.get("AWS_ENDPOINT_URL") == AWS_ENDPOINT_URL:
        env["AWS_ENDPOINT_URL"] = f"http://{endpoint_address}"
    argv = tuple(translate(argument) for argument in process.argv)
    return ProcessPlan(name=process.name, argv=argv, env=env, cwd=translate(process.cwd))


def _bind(source: str, target: str) -> Mount:
    return Mount(kind=MountKind.BIND, sources=(source,), target=target)
