"""Have idle processors of a virtual machine look out for work a while before they halt, as Linux has it by default.

To wake one that has halted is the host's figure, and neither ours nor a floor's nor a peer's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lambent.worker.sandbox.processors import LINUX_POLL_NS, POLL_NS, SYSFS, poll_ns


@contextmanager
def polling(*, as_it_is: bool = False, sysfs: Path = SYSFS) -> Iterator[str]:
    """Says what idle processors do while inside. What was found is put back at the end, however it comes."""
    found_ns, parameter = poll_ns(sysfs), sysfs / POLL_NS
    if found_ns != 0 or as_it_is or not os.access(parameter, os.W_OK):
        yield _said(found_ns)
        return
    try:
        parameter.write_text(str(LINUX_POLL_NS))
        yield f"{_said(LINUX_POLL_NS)} (was: {_said(found_ns)})"
    finally:
        parameter.write_text(str(found_ns))


def _said(longest_ns: int | None) -> str:
    if longest_ns is None:
        return "as Linux has them (no haltpoll)"
    return f"poll for {longest_ns / 1000:g} us" if longest_ns else "halt at once"
