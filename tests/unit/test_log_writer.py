"""The log writer over the store in memory, with a clock that only moves when it is told to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from function_versions import function_version
from lambent.adapters.memory.log_store import MemoryLogStore
from lambent.logs.stream import EVENT_BYTES, StreamWriter
from lambent.logs.writer import TelemetryWriter
from lambent.model.events import Report, RuntimeDone, ShutdownDone, Start, Status
from lambent.model.function import FunctionVersion, LoggingConfig
from lambent.ports.log_store import Batch, Event, GroupKey, Query
from lambent.ports.store import WriteFailed

GROUP = GroupKey("000000000000", "eu-central-1", "/aws/lambda/f")


def version(log_group: str = "") -> FunctionVersion:
    return function_version(region="eu-central-1", logging=LoggingConfig(log_group=log_group))


class Clock:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class GatedStore(MemoryLogStore):
    """Keeps what it is given once the gate is open, or fails while it is broken."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()
        self.appends = 0
        self.is_broken = False

    async def append(self, batches: Sequence[Batch]) -> None:
        self.appends += 1
        self.asked.set()
        await self.gate.wait()
        if self.is_broken:
            raise WriteFailed("the disk is full")
        await super().append(batches)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store() -> GatedStore:
    return GatedStore()


@pytest.fixture
async def writer(store: GatedStore, clock: Clock) -> AsyncIterator[TelemetryWriter]:
    async with TelemetryWriter(store, clock=clock, stream_bytes=100_000, total_bytes=150_000) as writer:
        yield writer


@pytest.fixture
def stream(writer: TelemetryWriter) -> StreamWriter:
    return writer.open(version(), "s")


async def events(writer: TelemetryWriter, store: MemoryLogStore, group: GroupKey = GROUP) -> Sequence[Event]:
    await writer.flush()
    return await store.read(Query(group=group, limit_bytes=10**9))


async def messages(writer: TelemetryWriter, store: MemoryLogStore) -> list[str]:
    return [event.message for event in await events(writer, store)]


def start(time: float = 1_700_000_000.0) -> Start:
    return Start(time=time, request_id="r", version="$LATEST")


def done(time: float = 1_700_000_000.0) -> RuntimeDone:
    return RuntimeDone(time=time, request_id="r", status=Status.SUCCESS, duration_ms=1.0, produced_bytes=2)


def report(time: float = 1_700_000_000.0) -> Report:
    return Report(
        time=time,
        request_id="r",
        status=Status.SUCCESS,
        duration_ms=1.0,
        billed_duration_ms=1,
        memory_size_mib=128,
        max_memory_used_mib=30,
    )


INVOCATION = [
    "START RequestId: r Version: $LATEST\n",
    "hello\n",
    "END RequestId: r\n",
    "REPORT RequestId: r\tDuration: 1.00 ms\tBilled Duration: 1 ms\tMemory Size: 128 MB\tMax Memory Used: 30 MB\t\n",
]


async def test_an_invocation_is_logged_in_the_order_of_its_events(
    writer: TelemetryWriter, store: GatedStore, stream: StreamWriter
) -> None:
    stream.emit(start())
    stream.write(b"hello\n")
    stream.emit(done())
    stream.emit(report())
    assert await messages(writer, store) == INVOCATION


async def test_group_and_stream_come_into_being_with_the_first_record(
    writer: TelemetryWriter, store: GatedStore
) -> None:
    stream = writer.open(version(log_group="shared"), "f[1]x")
    await writer.flush()
    assert await store.groups("000000000000", "eu-central-1") == []
    stream.emit(start())
    (event,) = await events(writer, store, GroupKey("000000000000", "eu-central-1", "shared"))
    assert event.stream == "f[1]x"


async def test_what_many_streams_log_at_once_is_kept_in_one_append(writer: TelemetryWriter, store: GatedStore) -> None:
    for n in range(20):
        writer.open(version(), f"s{n}").emit(start())
    assert len(await messages(writer, store)) == 20
    assert store.appends == 1


async def test_what_is_logged_is_kept_soon_without_being_asked_for(store: GatedStore, clock: Clock) -> None:
    async with TelemetryWriter(store, clock=clock, flush_after_s=0.001) as writer:
        writer.open(version(), "s").write(b"line\n")
        await asyncio.wait_for(store.asked.wait(), 10)


async def test_leaving_the_writer_keeps_what_waits(store: GatedStore, clock: Clock) -> None:
    async with TelemetryWriter(store, clock=clock, flush_after_s=3600) as writer:
        writer.open(version(), "s").write(b"line\n")
    assert [event.message for event in await store.read(Query(group=GROUP))] == ["line\n"]


async def test_lines_are_told_apart_whatever_the_chunks(
    writer: TelemetryWriter, store: GatedStore, stream: StreamWriter
) -> None:
    for chunk in (b"on", b"e\ntwo\r\n\nth", b"r", b"ee\n", b""):
        stream.write(chunk)
    assert await messages(writer, store) == ["one\n", "two\r\n", "\n", "three\n"]


async def test_an_unfinished_line_waits_for_the_next_event_or_the_end(
    writer: TelemetryWriter, store: GatedStore, stream: StreamWriter
) -> None:
    stream.write(b"no newline")
    assert await messages(writer, store) == []
    stream.emit(done())
    stream.write(b"last words")
    stream.emit(ShutdownDone(time=1.0, reason="spindown", duration_ms=1.0))
    stream.write(b"very last")
    stream.close()
    stream.close()
    expected = ["no newline\n", "END RequestId: r\n", "last words\n", "very last\n"]
    assert await messages(writer, store) == expected


async def test_bytes_that_are_no_utf_8_are_replaced(
    writer: TelemetryWriter, store: GatedStore, stream: StreamWriter
) -> None:
    stream.write(b"caf\xc3\xa9 \xff\n")
    assert await messages(writer, store) == ["café \ufffd\n"]


@pytest.mark.parametrize("chunk_bytes", [1_000, EVENT_BYTES - 1, EVENT_BYTES, EVENT_BYTES + 1, 10**9])
async def test_a_line_too_long_for_one_event_is_split_between_characters(
    writer: TelemetryWriter, store: GatedStore, stream: StreamWriter, chunk_bytes: int
) -> None:
    text = "x" + "é" * (EVENT_BYTES * 5 // 4) + "\nshort\n"
    data = text.encode()
    for offset in range(0, len(data), chunk_bytes):
        stream.write(data[offset : offset + chunk_bytes])
    found = await messages(writer, store)
    assert "".join(found) == text
    assert len(found) == 4
    assert max(len(message.encode()) for message in found) <= EVENT_BYTES


async def test_a_stream_never_goes_back_in_time(
    writer: TelemetryWriter, store: GatedStore, stream: StreamWriter, clock: Clock
) -> None:
    stream.write(b"late\n")
    clock.now -= 60
    stream.emit(start(clock.now))
    stream.write(b"early\n")
    found = await events(writer, store)
    assert [event.message for event in found] == ["late\n", "START RequestId: r Version: $LATEST\n", "early\n"]
    assert len({event.position.timestamp_ms for event in found}) == 1


async def test_events_keep_their_own_times_to_the_millisecond(
    writer: TelemetryWriter, store: GatedStore, stream: StreamWriter, clock: Clock
) -> None:
    stream.emit(start(1_700_000_000.25))
    stream.emit(done(1_700_000_000.5))
    clock.now += 7
    found = await events(writer, store)
    assert [event.position.timestamp_ms for event in found] == [1_700_000_000_250, 1_700_000_000_500]
    assert {event.ingested_ms for event in found} == {1_700_000_007_000}


async def test_the_tail_is_the_text_logged_since_it_was_last_taken(stream: StreamWriter) -> None:
    stream.emit(start())
    stream.write(b"hello\n")
    stream.emit(done())
    stream.emit(report())
    assert stream.take_tail() == "".join(INVOCATION).encode()
    assert stream.take_tail() == b""


async def test_what_nobody_wants_a_tail_of_is_in_no_later_tail(
    stream: StreamWriter, writer: TelemetryWriter, store: GatedStore
) -> None:
    for _ in range(100):
        stream.emit(start())
        stream.write(b"hello\n")
        stream.emit(done())
        stream.emit(report())
        stream.forget_tail()
    stream.emit(start())
    assert stream.take_tail() == INVOCATION[0].encode()
    assert len(await events(writer, store)) == 401


async def test_the_tail_holds_at_most_its_last_4096_bytes(stream: StreamWriter) -> None:
    lines = b"".join(b"line %06d\n" % n for n in range(5_000))
    stream.write(lines)
    assert stream.take_tail() == lines[-4096:]
    for line in lines.splitlines(keepends=True):
        stream.write(line)
    assert stream.take_tail() == lines[-4096:]


async def test_a_full_stream_is_drained_once_the_store_has_kept_it(
    writer: TelemetryWriter, store: GatedStore, stream: StreamWriter
) -> None:
    store.gate.clear()
    stream.write(b"x" * 99_000 + b"\n")
    assert not stream.is_full
    stream.write(b"x" * 1_000 + b"\n")
    assert stream.is_full
    draining = asyncio.create_task(stream.drained())
    flushing = asyncio.create_task(writer.flush())
    await store.asked.wait()
    assert not draining.done()
    store.gate.set()
    await draining
    assert not stream.is_full
    await flushing
    assert writer.statistics().waiting_bytes == 0
    assert writer.statistics().lost_bytes == 0
    assert writer.statistics().kept_bytes > 100_000


async def test_streams_are_full_together_when_the_server_holds_too_much(
    writer: TelemetryWriter, store: GatedStore, stream: StreamWriter
) -> None:
    store.gate.clear()
    quiet = writer.open(version(), "quiet")
    for n in range(2):
        writer.open(version(), f"loud{n}").write(b"x" * 90_000 + b"\n")
    assert quiet.is_full
    store.gate.set()
    await asyncio.gather(quiet.drained(), writer.flush())
    assert not quiet.is_full


async def test_what_a_failing_disk_does_not_take_is_lost_counted_and_told_once(
    writer: TelemetryWriter, store: GatedStore, stream: StreamWriter, caplog: pytest.LogCaptureFixture
) -> None:
    store.is_broken = True
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            stream.write(b"lost\n")
            await writer.flush()
        store.is_broken = False
        stream.write(b"kept\n")
        assert await messages(writer, store) == ["kept\n"]
    assert [record.message for record in caplog.records] == ["logs.lost", "logs.kept_again"]
    assert writer.statistics().lost_bytes >= 3 * len(b"lost\n")
    assert writer.statistics().waiting_bytes == 0


output = st.lists(st.binary(max_size=8) | st.sampled_from([b"\n", b"a\nb", "é\n".encode(), b"\r\n"]), max_size=12)


@settings(max_examples=50, deadline=None)
@given(chunks=output)
async def test_no_byte_of_any_output_is_lost_or_moved(chunks: list[bytes]) -> None:
    store = MemoryLogStore()
    async with TelemetryWriter(store) as writer:
        stream = writer.open(version(), "s")
        for chunk in chunks:
            stream.write(chunk)
        stream.close()
        found = await messages(writer, store)
    whole = b"".join(chunks)
    expected = whole if whole.endswith(b"\n") or not whole else whole + b"\n"
    assert "".join(found) == expected.decode(errors="replace")
    assert found == [f"{line}\n" for line in expected.decode(errors="replace").split("\n")[:-1]]
