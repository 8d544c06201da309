"""Whether an idle processor of a virtual machine looks out for work a while before it halts.

The host wakes one that has halted, which takes longer than a step of a warm invoke. Linux's governor haltpoll decides:
https://docs.kernel.org/virt/guest-halt-polling.html
"""

from __future__ import annotations

from pathlib import Path

SYSFS = Path("/sys")
POLL_NS = "module/haltpoll/parameters/guest_halt_poll_ns"
LINUX_POLL_NS = 200_000
"""What Linux has unless told otherwise."""
_GOVERNOR = "devices/system/cpu/cpuidle/current_governor"


def poll_ns(sysfs: Path = SYSFS) -> int | None:
    """The longest such while; None where haltpoll does not govern, and nothing is known of what waking takes."""
    try:
        governor = (sysfs / _GOVERNOR).read_text().strip()
        return int((sysfs / POLL_NS).read_text()) if governor == "haltpoll" else None
    except OSError:
        return None
