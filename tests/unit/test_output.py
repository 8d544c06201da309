"""The output of an environment: read as it comes, and drained before what is logged next."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest

from lambent.worker.output import Output


class Kept:
    """A sink that is never full."""

    is_full = False

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.came = asyncio.Event()

    def write(self, chunk: bytes) -> None:
        self.chunks.append(chunk)
        self.came.set()

    async def drained(self) -> None: ...


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    os.set_blocking(ends[0], False)
    yield ends
    for end in ends:
        os.close(end)


async def test_what_was_drained_before_its_news_came_ends_no_reading(pipe: tuple[int, int]) -> None:
    sink = Kept()
    output = Output(pipe[0], sink)
    os.write(pipe[1], b"first\n")

    output.drain_nowait()
    output._readable()  # the event loop had noted the bytes before they were drained
    sink.came.clear()
    os.write(pipe[1], b"second\n")
    await sink.came.wait()
    output.close()

    assert sink.chunks == [b"first\n", b"second\n"]


async def test_draining_takes_all_there_is_in_order(pipe: tuple[int, int]) -> None:
    sink = Kept()
    output = Output(pipe[0], sink)
    text = b"x" * 40_000 + b"\n"
    os.write(pipe[1], text)

    output.drain_nowait()
    output.drain_nowait()
    output.close()

    assert b"".join(sink.chunks) == text
