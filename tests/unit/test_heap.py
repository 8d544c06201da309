"""When memory that is no longer used is given back, and that it is."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lambent.heap import Trimmer

MIB = 2**20

FREES_WHAT_THE_C_LIBRARY_KEEPS = """
import ctypes
from lambent.heap import malloc_trim, resident_bytes
c = ctypes.CDLL(None)
c.malloc.restype, c.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
blocks = [c.malloc(100_000) for _ in range(500)]
for block in blocks:
    ctypes.memset(ctypes.c_void_p(block), 1, 100_000)
for block in blocks[:-1]:  # the last one lies above them
    c.free(block)
held = resident_bytes()
malloc_trim()()
print(held - resident_bytes())
"""

ALLOCATES_IN_A_THREAD = """
import ctypes, re, threading
from lambent.heap import share_one_heap
{first}
c = ctypes.CDLL(None)
c.malloc.restype = ctypes.c_void_p
blocks = []
thread = threading.Thread(target=lambda: blocks.append(c.malloc(100_000)))
thread.start()
thread.join()
begin, end = re.search("(.*)-(.*) rw.*heap", open("/proc/self/maps").read()).groups()
print(int(begin, 16) <= blocks[0] < int(end, 16))
"""


class Process:
    """Holds what it is told to, and counts how often it was trimmed."""

    def __init__(self, held_mib: float) -> None:
        self.held_mib, self.trims, self.free_mib = held_mib, 0, 0.0
        self.trimmer = Trimmer(self._trim, lambda: int(self.held_mib * MIB))

    def _trim(self) -> None:
        self.trims += 1
        self.held_mib -= self.free_mib
        self.free_mib = 0

    def look(self, held_mib: float, *, free_mib: float = 0, is_quiet: bool = True) -> int:
        self.held_mib, self.free_mib = held_mib, free_mib
        self.trimmer.look(is_quiet=is_quiet)
        return self.trims


def test_what_has_grown_is_trimmed_in_a_quiet_time() -> None:
    process = Process(50)

    assert process.look(70, free_mib=15, is_quiet=False) == 0
    assert process.look(70, free_mib=15) == 1
    assert process.held_mib == 55


def test_what_could_not_be_given_back_is_not_tried_again() -> None:
    process = Process(50)
    process.look(70)

    assert [process.look(held_mib) for held_mib in (70, 70.5, 70.9, 71)] == [1, 1, 1, 2]


def test_what_shrinks_by_itself_may_grow_again_from_there() -> None:
    process = Process(50)
    process.look(40)

    assert [process.look(40.9), process.look(41)] == [0, 1]


def test_the_host_has_back_what_the_c_library_kept() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", FREES_WHAT_THE_C_LIBRARY_KEEPS], capture_output=True, text=True, check=True
    )

    assert int(ran.stdout) > 20 * MIB


@pytest.mark.parametrize(("first", "is_shared"), [("", "False"), ("share_one_heap()", "True")])
def test_a_thread_allocates_from_the_heap_of_all(first: str, is_shared: str) -> None:
    program = ALLOCATES_IN_A_THREAD.format(first=first)
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == is_shared
