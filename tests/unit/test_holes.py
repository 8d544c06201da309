"""What was freed among what is still used is filled up, in an interpreter that a test may use up."""

from __future__ import annotations

import subprocess
import sys

import pytest

_PROGRAM = """
import ctypes
from lambent.worker.sandbox.holes import fill_holes

allocate, free = ctypes.pythonapi.{allocate}, ctypes.pythonapi.{free}
allocate.argtypes, allocate.restype = (ctypes.c_size_t,), ctypes.c_void_p
free.argtypes, free.restype = (ctypes.c_void_p,), None
held = [allocate({size_bytes}) for _ in range(40_000 // {size_bytes})]
for block in held[::5]:
    free(block)

fill_holes()

blocks = [allocate({size_bytes}) for _ in range(4)]
print([later - earlier for earlier, later in zip(blocks, blocks[1:])], set(blocks) & set(held))
"""


@pytest.mark.parametrize(
    ("allocate", "free", "size_bytes", "apart_bytes"),
    [("PyMem_Malloc", "PyMem_Free", 208, 208), ("PyMem_RawMalloc", "PyMem_RawFree", 1000, 1008)],
)
def test_what_is_asked_for_lies_in_a_row(allocate: str, free: str, size_bytes: int, apart_bytes: int) -> None:
    program = _PROGRAM.format(allocate=allocate, free=free, size_bytes=size_bytes)

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == f"{[apart_bytes] * 3} set()"
