"""Attacks on other processes, on privileges, and by descriptors that were left open."""

import ctypes
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys

from tools import attack, attempt, call, in_child, libc, read

PTRACE_TRACEME, PTRACE_ATTACH, PTRACE_SEIZE = 0, 16, 0x4206
NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET, NEWTIME = (
    0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000, 0x80,
)  # fmt: skip


@attack
def trace(event):
    return {
        "pid_1": call(101, PTRACE_ATTACH, 1, 0, 0),
        "seize_pid_1": call(101, PTRACE_SEIZE, 1, 0, 0),
        "host": call(101, PTRACE_ATTACH, event["pid"], 0, 0),
        "own_child": call(101, PTRACE_TRACEME, 0, 0, 0),
    }


@attack
def reach_into_pid_1(event):
    room = ctypes.create_string_buffer(64)
    vector = (ctypes.c_ulong * 2)(ctypes.addressof(room), 64)
    pid_1 = os.pidfd_open(1)
    try:
        return {
            "readv": call(310, 1, vector, 1, vector, 1, 0),
            "writev": call(311, 1, vector, 1, vector, 1, 0),
            "madvise": call(440, pid_1, vector, 1, 4, 0),
            "getfd": call(438, pid_1, 0, 0),
            "kcmp": call(312, 1, os.getpid(), 0, 0, 0),
            "memory": attempt(open, "/proc/1/mem", "rb"),
            "setns": call(308, pid_1, NEWNET),
        }
    finally:
        os.close(pid_1)


@attack
def signal_pid_1(event):
    """Whatever it is sent, it stays; who asks here afterwards is told so by being answered at all."""
    for signum in signal.valid_signals():
        attempt(os.kill, 1, signum)
    attempt(signal.pidfd_send_signal, os.pidfd_open(1), signal.SIGKILL)
    attempt(libc.tgkill, 1, 1, signal.SIGKILL)
    return attempt(os.kill, 1, 0)


@attack
def signal_the_host(event):
    """By the process ids it has outside; and everybody within reach."""
    return {
        "server": attempt(os.kill, event["pid"], 0),
        "server_group": attempt(os.killpg, event["pid"], 0),
        "server_pidfd": attempt(os.pidfd_open, event["pid"]),
        "everyone": in_child(lambda: attempt(os.kill, -1, signal.SIGCONT)),
    }


@attack
def nested_namespaces(event):
    kinds = {
        "mount": NEWNS, "cgroup": NEWCGROUP, "uts": NEWUTS, "ipc": NEWIPC, "user": NEWUSER, "pid": NEWPID,
        "net": NEWNET, "time": NEWTIME,
    }  # fmt: skip
    found = {name: [call(272, flag), call(56, flag | signal.SIGCHLD, 0, 0, 0, 0)] for name, flag in kinds.items()}
    found["time"].pop()  # clone has no such flag
    return found


@attack
def user_namespace_hidden_in_the_upper_half(event):
    """The kernel looks at all 64 bits of clone's flags; so must who filters them."""
    return {
        "with_high_bits": call(56, 1 << 40 | NEWUSER | signal.SIGCHLD, 0, 0, 0, 0),
        "unshare_with_high_bits": call(272, 1 << 40 | NEWUSER),
        "clone3": call(435, (ctypes.c_ulong * 11)(NEWUSER, 0, 0, 0, signal.SIGCHLD), 88),
    }


@attack
def enter_namespaces(event):
    found = {}
    for name in os.listdir("/proc/self/ns"):
        descriptor = os.open(f"/proc/self/ns/{name}", os.O_RDONLY)
        found[name] = call(308, descriptor, 0)
        os.close(descriptor)
    return sorted(set(found.values()))


@attack
def namespaces_above(event):
    """Descriptors of the namespaces that ours are in, by ioctl."""
    NS_GET_PARENT = 0xB702
    found = {}
    for name in ("user", "pid"):
        descriptor = os.open(f"/proc/self/ns/{name}", os.O_RDONLY)
        found[name] = call(16, descriptor, NS_GET_PARENT, 0)
        os.close(descriptor)
    return found


@attack
def become_root(event):
    def set_ids():
        return {
            "setuid": attempt(os.setuid, 0),
            "setgid": attempt(os.setgid, 0),
            "setresuid": attempt(os.setresuid, 0, 0, 0),
            "setgroups": attempt(os.setgroups, [0]),
            "setfsuid": [libc.setfsuid(0), libc.setfsuid(-1) != 0],
        }

    return in_child(set_ids)


@attack
def privileges(event):
    def status(*names):
        return [line.split()[1] for line in open("/proc/self/status") if line.startswith(names)]

    return {
        "capabilities": status("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"),
        "confined": status("NoNewPrivs", "Seccomp:"),
        "raise": call(126, (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(*[0xFFFFFFFF] * 6)),
        "ambient": libc.prctl(47, 2, 21, 0, 0),
        "securebits": libc.prctl(28, 0, 0, 0, 0),
        "uids": len({*os.getresuid(), *os.getresgid()}),
        "uid": os.getuid(),
        "groups": os.getgroups(),
    }


SETUID_PROGRAMS = ("su", "mount", "umount", "passwd", "newgrp", "sudo", "pkexec", "chsh", "gpasswd")


@attack
def setuid_programs(event):
    """Those of the host: every one runs as whoever starts it."""
    found = {}
    for name in SETUID_PROGRAMS:
        path = shutil.which(name, path="/usr/bin:/bin:/usr/sbin")
        if path is not None and os.stat(path).st_mode & stat.S_ISUID:
            found[name] = path
    loader = "import os; print(os.geteuid(), open('/proc/self/status').read().count('NoNewPrivs:\\t1'))"
    own = subprocess.run([sys.executable, "-S", "-c", loader], capture_output=True, text=True, check=False)
    after = in_child(lambda: _euid_after_exec(found["su"])) if "su" in found else os.geteuid()
    return {
        "there_are_some": bool(found),
        "mount_holds_them_off": bool(os.statvfs("/usr/bin").f_flag & os.ST_NOSUID),
        "child": own.stdout.split() == [str(os.getuid()), "1"],
        "euid_of_su": after == os.geteuid(),
    }


def _euid_after_exec(path):
    """The effective uid of a setuid program while it waits for the password it will not get."""
    read_end, write_end = os.pipe()
    program = subprocess.Popen(
        [path, "-c", "true"], stdin=read_end, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        lines = read(f"/proc/{program.pid}/status").splitlines()
        return int(next(line for line in lines if line.startswith("Uid:")).split()[2])
    except FileNotFoundError:  # not to be looked into would mean that it is somebody else's
        return -1
    finally:
        program.kill()
        program.wait()
        os.close(write_end)


@attack
def own_setuid_program(event):
    """A file of one's own with the setuid bit makes nobody else of whoever runs it."""
    shutil.copy(shutil.which("id", path="/usr/bin:/bin"), "/tmp/id")
    os.chmod("/tmp/id", 0o6755)
    attempted = attempt(os.chown, "/tmp/id", 0, 0)
    capability = attempt(os.setxattr, "/tmp/id", "security.capability", bytes.fromhex("0100000200200000") + bytes(12))
    ran = subprocess.run(["/tmp/id", "-u"], capture_output=True, text=True, check=False).stdout.strip()
    return {"chown": attempted, "capability": capability, "runs_as_oneself": ran == str(os.getuid())}


def _descriptors():
    """What each is: at the import of this module, before any attack has opened one."""
    found = {}
    for name in sorted(os.listdir("/proc/self/fd"), key=int):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}").partition(":")[0]
        except FileNotFoundError:  # the listing's own
            pass
    return found


_CHILD = """import os, sys
sys.stderr.write(" ".join(sorted(n + os.readlink("/proc/self/fd/" + n).partition(":")[0]
    for n in os.listdir("/proc/self/fd") if os.path.islink("/proc/self/fd/" + n))))
"""
AT_IMPORT = {
    "own": _descriptors(),
    "child": subprocess.run(
        [sys.executable, "-S", "-c", _CHILD], stderr=subprocess.PIPE, text=True, close_fds=False, check=False
    ).stderr.split(),
    "modes": [int(read(f"/proc/self/fdinfo/{name}").split()[3], 8) & os.O_ACCMODE for name in "012"],
}


@attack
def inherited_descriptors(event):
    """In this process, and in a program that it starts."""
    return AT_IMPORT


@attack
def raise_limits(event):
    def raised(name):
        which = getattr(resource, name)
        return attempt(resource.setrlimit, which, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    names = ("RLIMIT_NOFILE", "RLIMIT_MEMLOCK", "RLIMIT_CORE", "RLIMIT_MSGQUEUE", "RLIMIT_NICE", "RLIMIT_RTPRIO")
    return {
        "raise": {name: raised(name) for name in names},
        "values": {name: list(resource.getrlimit(getattr(resource, name))) for name in names},
    }


@attack
def go_first(event):
    """Be scheduled before everybody else on the host, whatever the share of CPU is."""
    return {
        "fifo": attempt(os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(1)),
        "round_robin": attempt(os.sched_setscheduler, 0, os.SCHED_RR, os.sched_param(1)),
        "deadline": call(314, 0, (ctypes.c_uint64 * 6)(48 | 6 << 32, 0, 0, 10**6, 10**7, 10**7), 0),
        "nice": attempt(os.nice, -5),
        "io": call(251, 1, 0, 1 << 13),
    }


@attack
def dump_core(event):
    """A crash leaves no file, and feeds nothing to a handler of the host."""
    os.makedirs("/tmp/cores", exist_ok=True)

    def crash():
        os.chdir("/tmp/cores")
        libc.prctl(4, 1, 0, 0, 0)
        ctypes.string_at(0)

    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        crash()
    _, status = os.waitpid(pid, 0)
    return {"signal": os.WTERMSIG(status), "dumped": os.WCOREDUMP(status), "files": os.listdir("/tmp/cores")}
