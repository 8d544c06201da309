"""Attacks by way of /proc, /sys and the control groups' file systems."""

import os

from tools import attack, attempt, opened, read, write

SETTINGS = (
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/hotplug",
    "/proc/sys/kernel/poweroff_cmd",
    "/proc/sys/kernel/sysrq",
    "/proc/sys/kernel/panic",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/domainname",
    "/proc/sys/kernel/randomize_va_space",
    "/proc/sys/kernel/dmesg_restrict",
    "/proc/sys/kernel/unprivileged_bpf_disabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/kernel/shmmax",
    "/proc/sys/kernel/keys/maxkeys",
    "/proc/sys/vm/drop_caches",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/vm/panic_on_oom",
    "/proc/sys/vm/mmap_min_addr",
    "/proc/sys/fs/file-max",
    "/proc/sys/fs/protected_symlinks",
    "/proc/sys/fs/suid_dumpable",
    "/proc/sys/fs/binfmt_misc/register",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/net/ipv4/ip_unprivileged_port_start",
    "/proc/sys/net/core/bpf_jit_enable",
    "/proc/sys/user/max_user_namespaces",
    "/proc/irq/default_smp_affinity",
    "/proc/self/uid_map",
    "/proc/self/gid_map",
    "/proc/self/setgroups",
)


@attack
def write_kernel_settings(event):
    return {path: attempt(write, path, "1") for path in SETTINGS}


@attack
def read_kernel_secrets(event):
    paths = (
        "/proc/kcore", "/proc/kmsg", "/proc/kpageflags", "/proc/kpagecount", "/proc/kpagecgroup", "/proc/slabinfo",
        "/proc/vmallocinfo", "/proc/pagetypeinfo", "/proc/mtrr",
        "/proc/sched_debug", "/proc/timer_stats", "/proc/latency_stats",
    )  # fmt: skip
    return {path: attempt(read, path) for path in paths}


@attack
def read_masked_files(event):
    """Files of the host that are hidden under /dev/null."""
    paths = (
        "/proc/cmdline", "/proc/interrupts", "/proc/kallsyms", "/proc/key-users", "/proc/keys", "/proc/modules",
        "/proc/timer_list",
    )  # fmt: skip
    found = {path: attempt(read, path) for path in paths if os.path.exists(path)}
    return {**found, "/proc/pressure": os.listdir("/proc/pressure") if os.path.exists("/proc/pressure") else []}


@attack
def kernel_addresses(event):
    """Of those that are told at all (/proc/iomem, wchan, stack), none is told."""
    with open("/proc/iomem") as file:
        ranges = {line.strip().split(" : ")[0] for line in file}
    return {
        "iomem": sorted(ranges),
        "stack": attempt(read, "/proc/self/stack"),
        "wchan": attempt(read, "/proc/self/wchan"),
    }


@attack
def press_sysrq(event):
    """Where the kernel has it at all, what is written there lands in /dev/null."""
    if not os.path.exists("/proc/sysrq-trigger"):
        return "not there"
    return "/dev/null" if os.stat("/proc/sysrq-trigger").st_rdev == os.makedev(1, 3) else "there"


@attack
def writable_in_proc(event):
    """Everything outside the processes' own directories that could be opened for writing."""
    found = []
    for above, directories, names in os.walk("/proc"):
        if above == "/proc":
            directories[:] = [
                name for name in directories if not name.isdigit() and name not in ("self", "thread-self")
            ]
        for name in names:
            path = os.path.join(above, name)
            if os.path.islink(path) or attempt(opened, path, os.O_WRONLY | os.O_NONBLOCK) != "done":
                continue
            if os.stat(path).st_rdev != os.makedev(1, 3):
                found.append(path)
    return found


@attack
def other_processes(event):
    """All the processes one can see, and what PID 1 shows of itself."""
    details = ("environ", "maps", "mem", "cmdline", "status", "auxv", "exe", "fd", "io", "syscall", "oom_score_adj")
    return {
        "own": os.getpid(),
        "seen": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()),
        "pid_1": {attempt(os.stat, f"/proc/1/{name}") for name in details}.pop(),
        "host": attempt(os.stat, f"/proc/{event['pid']}"),
    }


@attack
def escape_the_oom_killer(event):
    now = read("/proc/self/oom_score_adj").strip()
    return {
        "now": now,
        "lower": [attempt(write, "/proc/self/oom_score_adj", score) for score in ("-1000", "-500", "-1")],
    }


@attack
def sysfs(event):
    return {path: attempt(os.listdir, path) for path in ("/sys", "/sys/kernel/debug", "/sys/fs/bpf", "/sys/firmware")}


@attack
def control_groups(event):
    """None of their file systems is here, and where one is in them cannot be told."""
    with open("/proc/self/cgroup") as file:
        own = {line.strip().split(":", 2)[2] for line in file if not line.split(":", 2)[1].startswith("name=")}
    with open("/proc/self/mounts") as file:
        kinds = {line.split()[2] for line in file}
    return {
        "own": sorted(own),
        "mounted": sorted(kind for kind in kinds if kind.startswith(("cgroup", "sysfs", "debugfs", "tracefs", "bpf"))),
        "directory": attempt(os.listdir, "/sys/fs/cgroup"),
    }


@attack
def security_modules(event):
    return [attempt(write, f"/proc/self/attr/{name}", "unconfined") for name in ("current", "exec", "fscreate")]
