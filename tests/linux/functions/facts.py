"""A function that tells everything by which it could know how its process was started."""

import inspect
import os
import resource
import signal
import sys
import threading

LIBC_OWN = 3 << 31
"""Signals 32 and 33, which posix_spawn leaves ignored and the C library takes care of before it uses them."""
BY_DESIGN = ("PYTHONHASHSEED", "RENEWED", "_X_AMZN_TRACE_ID")


def is_forked():
    """A forked process's first variables are its zygote's."""
    with open("/proc/self/environ", "rb") as file:
        return b"AWS_LAMBDA_FUNCTION_NAME" not in file.read()


def stream(file):
    return [file.name, file.encoding, file.errors, file.line_buffering, file.isatty()]


at_import = {
    "argv": sys.argv,
    "orig_argv": getattr(sys, "orig_argv", None),
    "path": list(sys.path),
    "executable": sys.executable,
    "prefixes": [sys.prefix, sys.base_prefix, sys.exec_prefix],
    "main": sys.modules["__main__"].__file__,
    "streams": [stream(sys.stdin), stream(sys.stdout), stream(sys.stderr)],
    "stack": [frame.function for frame in inspect.stack()],
    "frames": sum(1 for _ in inspect.stack()),
}


def read(path):
    with open(path) as file:
        return file.read()


def status(*names):
    lines = dict(line.split(":", 1) for line in read("/proc/self/status").splitlines())
    return {name: lines[name].strip() for name in names}


def descriptors():
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink("/proc/self/fd/" + name).split(":")[0]
        except FileNotFoundError:
            pass  # the listing's own
    return found


def variables():
    return {name: value for name, value in os.environ.items() if name[:4] != "AWS_" and name not in BY_DESIGN}


def limits():
    return {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name[:7] == "RLIMIT_"}


def handler(event, context):
    if event == "is_forked":
        return is_forked()
    capabilities = status("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")
    signals = {name: int(mask, 16) & ~LIBC_OWN for name, mask in status("SigBlk", "SigIgn", "SigCgt").items()}
    return {
        **at_import,
        "variables": {
            name: value for name, value in os.environ.items() if name[:4] != "AWS_" and name not in BY_DESIGN
        },
        "names": sorted(set(os.environ) - set(BY_DESIGN)),
        "pid": os.getpid(),
        "parent": os.getppid(),
        "leads": os.getsid(0) == os.getpid() == os.getpgrp(),
        "processes": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()),
        "cwd": os.getcwd(),
        "umask": os.umask(0o022),
        "one id": len(set(os.getresuid() + os.getresgid())),
        "groups": os.getgroups(),
        "capabilities": capabilities,
        "signals": signals,
        "interrupt": str(signal.getsignal(signal.SIGINT)),
        "finders": [getattr(one, "__name__", type(one).__name__) for one in sys.meta_path],
        "scheduling": os.sched_getscheduler(0),
        "processors": sorted(os.sched_getaffinity(0)),
        "status": status("Name", "Threads"),
        "threads": [thread.name for thread in threading.enumerate()],
        "limits": {
            name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name[:7] == "RLIMIT_"
        },
        "descriptors": descriptors(),
        "command": read("/proc/self/cmdline"),
        "comm": read("/proc/self/comm"),
        "program": os.readlink("/proc/self/exe"),
        "oom": read("/proc/self/oom_score_adj"),
        "cgroups": [line.split(":")[1] for line in read("/proc/self/cgroup").splitlines()],
        "mounts": [line.split()[4:6] for line in read("/proc/self/mountinfo").splitlines()],
        "owns its proc": os.stat("/proc/self/environ").st_uid == os.getuid(),
        "stdin": sys.stdin.read(),
    }
