"""Which processors sandboxd keeps to, and who works for it: one for itself, the others for its zygotes and midwives.

Making a sandbox goes through sandboxd and a zygote, one after the other. Where both may use every processor, they take
turns on one while another has nothing to do: the kernel's own workers, each bound to a processor, take sandboxd's place
there, and whoever has waited longest goes first then. What runs in sandboxes may use all that the server may.
Zygotes use this, so it keeps to Python 3.8.
"""

from __future__ import annotations

import os
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

_BITS_OF_A_WORD = 64


def of_this_process() -> tuple[int, ...]:
    """The processors that it may use, in order."""
    return tuple(sorted(os.sched_getaffinity(0)))


def keep_to_one(all_of_them: Collection[int]) -> None:
    """For sandboxd. Which one differs between the servers of a host."""
    if len(all_of_them) > 1:
        _set([sorted(all_of_them)[os.getpid() % len(all_of_them)]])


def leave_one(all_of_them: Collection[int]) -> None:
    """For a child of sandboxd that works for it: keep to those that sandboxd does not."""
    if others := set(all_of_them) - os.sched_getaffinity(0):
        _set(others)


def mask(processors: Collection[int]) -> bytes:
    """As sched_setaffinity(2) takes them."""
    words = max(processors) // _BITS_OF_A_WORD + 1
    return sum(1 << one for one in processors).to_bytes(words * _BITS_OF_A_WORD // 8, "little")


def _set(processors: Collection[int]) -> None:
    with suppress(OSError):  # they have been taken from the server meanwhile; then it is the kernel that chooses
        os.sched_setaffinity(0, processors)
