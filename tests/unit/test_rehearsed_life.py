"""A zygote rehearses the life of a PID 1, and is afterwards as it was."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import os, signal
from lambent.worker.sandbox import init
from lambent.worker.sandbox.inner_wire import Ground

def state():
    return sorted(os.listdir("/proc/self/fd")), [signal.getsignal(one) for one in init.HANDLED], os.getcwd()

for signum in init.HANDLED:
    signal.signal(signum, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.SIG_IGN)
before = state()
ground = Ground(-1, -1, seccomp_program=bytes(8), last_capability=40, processors=(0,), made_inside=())
for _ in range(3):
    init.rehearse(ground)
print(state() == before, signal.set_wakeup_fd(-1))
"""


def test_a_rehearsed_life_leaves_no_descriptor_open_and_no_signal_handled_otherwise() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["True", "-1"]
