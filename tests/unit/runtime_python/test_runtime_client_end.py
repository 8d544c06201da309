"""How a runtime ends: by its function's will, or because the platform is gone; and what it does with a hard answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambent.testing.fake_runtime_api import FakeRuntimeApi
from lambent.testing.runtime_process import Exit, RuntimeEnded


async def end_after(start: Any, call: str, **event: Any) -> Exit:
    async with start() as runtime:
        with pytest.raises(RuntimeEnded):
            await runtime.invoke(json.dumps({"call": call, **event}).encode())
        end: Exit = await runtime.exit()
        return end


async def test_exit_in_a_handler_ends_the_process_with_its_code_and_its_output(start: Any) -> None:
    end = await end_after(start, "exits", code=5)

    assert (end.code, end.stdout) == (5, "last words")


async def test_os_exit_in_a_handler_ends_the_process_at_once(start: Any) -> None:
    assert (await end_after(start, "dies")).code == 3


async def test_what_is_no_exception_is_not_answered(start: Any) -> None:
    end = await end_after(start, "interrupts")

    assert end.code != 0
    assert "KeyboardInterrupt" in end.stderr


async def test_the_process_exits_when_the_platform_closes_the_connection(start: Any) -> None:
    async with start() as runtime:
        await runtime.invoke(b'{"call": "starts_thread"}')
        end = await runtime.stop()

    assert end.code == 1
    assert end.stderr == ""


async def test_events_come_in_chunks_too_and_as_large_as_they_may_be(start: Any) -> None:
    event = json.dumps({"call": "echo", "text": "é" * 1_000_000}, ensure_ascii=False).encode()

    async with start(api=FakeRuntimeApi(chunked=True)) as runtime:
        for _ in range(2):
            assert (await runtime.invoke(event)).json() == json.loads(event)
        assert (await runtime.invoke(b'{"call": "returns_none"}')).body == b"null"
