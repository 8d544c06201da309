"""Fills what was freed here and there, so that what children of this process ask for lies in a row.

A child copies every page that it writes to, and would find room for what it makes on as many pages as it makes things.
Zygotes use this, so it keeps to Python 3.8.
"""

from __future__ import annotations

import ctypes

_LIBC_BYTES = (*(2**power for power in range(15, 10, -1)), *range(1032, 23, -16))
_OBJECT_BYTES = range(512, 15, -16)
"""Of each of these sizes Python has pools; what is larger is libc's."""
_BEYOND_BYTES = 100_000
"""More than any hole has, and less than what libc would map for itself alone."""
_IN_A_ROW = 4
_MOST_OF_A_SIZE = 256
"""Other allocators than these may never give what is waited for."""

_allocate, _allocate_of_libc, _free_of_libc = (
    *(ctypes.pythonapi.PyMem_Malloc, ctypes.pythonapi.PyMem_RawMalloc, ctypes.pythonapi.PyMem_RawFree),
)
for _function in (_allocate, _allocate_of_libc):
    _function.argtypes, _function.restype = (ctypes.c_size_t,), ctypes.c_void_p
_free_of_libc.argtypes, _free_of_libc.restype = (ctypes.c_void_p,), None


def fill_holes() -> None:
    """Take, for good, what is free among what is not."""
    beyond = _allocate_of_libc(_BEYOND_BYTES)
    for size_bytes in _LIBC_BYTES:
        _take_until_beyond(beyond, size_bytes)
    for size_bytes in _OBJECT_BYTES:
        _take_until_in_a_row(size_bytes)
    _free_of_libc(beyond)


def _take_until_beyond(beyond: int, size_bytes: int) -> None:
    for _ in range(_MOST_OF_A_SIZE):
        if _allocate_of_libc(size_bytes) > beyond:
            return


def _take_until_in_a_row(size_bytes: int) -> None:
    last, in_a_row = 0, 0
    for _ in range(_MOST_OF_A_SIZE):
        block = _allocate(size_bytes)
        in_a_row = in_a_row + 1 if block == last + size_bytes else 0
        if in_a_row == _IN_A_ROW:
            return
        last = block
