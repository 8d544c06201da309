"""Subscribers and the stream they read: what is delivered in what order, what is lost, and who is told so."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from lambent.model.events import Fault, LogsDropped, PlatformEvent, Report, Start, Status
from lambent.worker.destinations import Undelivered
from lambent.worker.event_stream import EARLY_BYTES, EXTENSION, FUNCTION, LINE_BYTES, EventStream
from lambent.worker.subscriber import Subscriber
from lambent.worker.subscription import Api, Buffering, Subscription, TcpDestination

START = Start(time=1.0, request_id="r", version="1")
REPORT = Report(
    time=2.0,
    request_id="r",
    status=Status.SUCCESS,
    duration_ms=1.0,
    billed_duration_ms=1,
    memory_size_mib=128,
    max_memory_used_mib=1,
)


class Log:
    """A log stream that keeps what it is told."""

    is_full = False

    def __init__(self) -> None:
        self.events: list[PlatformEvent] = []
        self.text = b""

    def emit(self, event: PlatformEvent) -> None:
        self.events.append(event)

    def write(self, chunk: bytes) -> None:
        self.text += chunk

    write_lines = write

    async def drained(self) -> None: ...

    def forget_tail(self) -> None: ...
    def take_tail(self) -> bytes:
        return b""

    def close(self) -> None: ...


class Inbox:
    """A destination that takes what it gets while it is open, or refuses it."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.refusals = 0

    async def send(self, records: Sequence[bytes]) -> None:
        await self.gate.wait()
        if self.refusals:
            self.refusals -= 1
            raise Undelivered("refused")
        self.batches.append([json.loads(record) for record in records])

    async def close(self) -> None: ...

    @property
    def received(self) -> list[Any]:
        return [record for batch in self.batches for record in batch]


class World:
    def __init__(self) -> None:
        self.log = Log()
        self.stream = EventStream(self.log, clock=lambda: 5.0)
        self.inbox = Inbox()

    def subscriber(self, *types: str, api: Api = Api.TELEMETRY, **buffering: int) -> Subscriber:
        return Subscriber(
            name="sub",
            subscription=Subscription(
                api=api,
                schema_version="2022-07-01" if api is Api.TELEMETRY else "2021-03-18",
                types=types or ("platform", "function", "extension"),
                destination=TcpDestination(port=1),
                buffering=Buffering(**{"timeout_ms": 25, **buffering}),
            ),
            destination=self.inbox,
            has_json_lines=False,
            log=self.stream.log,
        )


async def test_a_subscriber_hears_first_what_it_has_missed() -> None:
    world = World()
    world.stream.emit(START)
    world.stream.write(b"before\n")
    subscriber = world.subscriber()
    world.stream.subscribe(subscriber)
    world.stream.write(b"af")
    world.stream.write(b"ter\n")

    await subscriber.flush()
    await subscriber.close()

    assert [(one["type"], one["record"]) for one in world.inbox.received] == [
        ("platform.start", {"requestId": "r", "version": "1"}),
        ("function", "before"),
        ("function", "after"),
    ]
    assert world.log.text == b"before\nafter\n"


async def test_nothing_is_kept_for_those_who_can_come_no_more() -> None:
    world = World()
    world.stream.emit(START)
    world.stream.close_subscription()
    late = world.subscriber()
    world.stream.subscribe(late)

    await late.flush()
    await late.close()

    assert world.inbox.received == []


async def test_each_hears_only_what_it_asked_for() -> None:
    world = World()
    subscriber = world.subscriber("extension")
    world.stream.subscribe(subscriber)
    world.stream.emit(START)
    world.stream.write(b"function\n")
    world.stream.write_extension(b"exten")
    world.stream.write_extension(b"sion\nunfinished")

    await subscriber.flush()
    await subscriber.close()

    assert world.inbox.received == [{"time": "1970-01-01T00:00:05.000Z", "type": EXTENSION, "record": "extension"}]
    assert world.log.text == b"function\nextension\n"


async def test_an_event_ends_an_unfinished_line() -> None:
    world = World()
    subscriber = world.subscriber()
    world.stream.subscribe(subscriber)
    world.stream.write(b"no newline")
    world.stream.emit(START)

    await subscriber.flush()
    await subscriber.close()

    assert [one["type"] for one in world.inbox.received] == [FUNCTION, "platform.start"]


async def test_an_overlong_line_is_cut() -> None:
    world = World()
    subscriber = world.subscriber(max_bytes=1_048_576)
    world.stream.subscribe(subscriber)
    world.stream.write(b"x" * (LINE_BYTES + 1))
    world.stream.write(b"y\n")

    await subscriber.flush()
    await subscriber.close()

    assert [len(one["record"]) for one in world.inbox.received] == [LINE_BYTES + 1, 1]


async def test_batches_keep_to_what_was_asked() -> None:
    world = World()
    subscriber = world.subscriber(max_items=1_000)
    world.stream.subscribe(subscriber)
    world.stream.write(b"x\n" * 2_500)

    await subscriber.flush()
    await subscriber.close()

    assert [len(batch) for batch in world.inbox.batches] == [1_000, 1_000, 500]


async def test_a_slow_subscriber_loses_and_it_and_the_log_are_told_how_much() -> None:
    world = World()
    world.inbox.gate.clear()
    subscriber = world.subscriber("function")
    world.stream.subscribe(subscriber)
    line = b"x" * 1023 + b"\n"
    for _ in range(4):
        world.stream.write(line * 1_000)
    world.stream.emit(REPORT)
    (lost,) = [event for event in world.log.events if isinstance(event, LogsDropped)]

    world.inbox.gate.set()
    await subscriber.flush()
    world.stream.write(b"again\n")
    await subscriber.flush()
    await subscriber.close()

    received = world.inbox.received
    kept = [one for one in received if one["type"] == "function"]
    assert len(kept) - 1 + lost.dropped_records == 4_000
    assert lost.dropped_bytes >= lost.dropped_records * 1_023
    assert received[-2]["type"] == "platform.logsDropped"
    assert received[-2]["record"]["droppedRecords"] == lost.dropped_records
    assert received[-1]["record"] == "again"
    assert sum(isinstance(event, LogsDropped) for event in world.log.events) == 1


async def test_what_is_refused_is_tried_again_and_then_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lambent.worker.subscriber.RETRY_AFTER_S", (0.0, 0.0))
    world = World()
    subscriber = world.subscriber()
    world.stream.subscribe(subscriber)

    world.inbox.refusals = 2
    world.stream.write(b"third time\n")
    await subscriber.flush()
    world.inbox.refusals = 3
    world.stream.write(b"lost\n")
    await subscriber.flush()
    await subscriber.close()

    assert [one["record"] for one in world.inbox.received] == ["third time"]
    assert [event.dropped_records for event in world.log.events if isinstance(event, LogsDropped)] == [1]


async def test_what_was_not_delivered_when_its_environment_ends_is_lost() -> None:
    world = World()
    world.inbox.gate.clear()
    subscriber = world.subscriber()
    world.stream.subscribe(subscriber)
    world.stream.write(b"a\nb\n")

    await subscriber.close()

    assert [event.dropped_records for event in world.log.events if isinstance(event, LogsDropped)] == [2]


async def test_what_comes_before_anybody_is_kept_within_bounds() -> None:
    world = World()
    for _ in range(2 * EARLY_BYTES // 10_000):
        world.stream.write(b"x" * 9_999 + b"\n")
    subscriber = world.subscriber()
    world.stream.subscribe(subscriber)
    world.stream.write(b"last\n")

    await subscriber.flush()
    await subscriber.close()

    dropped = [one["record"] for one in world.inbox.received if one["type"] == "platform.logsDropped"]
    assert dropped[0]["droppedRecords"] > 90
    assert world.inbox.received[-1]["record"] == "last"


async def test_the_logs_api_tells_an_end_with_each_report() -> None:
    world = World()
    subscriber = world.subscriber(api=Api.LOGS)
    world.stream.subscribe(subscriber)
    for event in (START, Fault(time=1.0, text="oh\n"), REPORT):
        world.stream.emit(event)

    await subscriber.flush()
    await subscriber.close()

    metrics = {"durationMs": 1.0, "billedDurationMs": 1, "memorySizeMB": 128, "maxMemoryUsedMB": 1}
    assert [(one["type"], one["record"]) for one in world.inbox.received] == [
        ("platform.start", {"requestId": "r", "version": "1"}),
        ("platform.fault", "oh"),
        ("platform.end", {"requestId": "r"}),
        ("platform.report", {"requestId": "r", "metrics": metrics}),
    ]
