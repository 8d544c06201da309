"""One suite for every log store; what only a file can suffer is tested on SQLite."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.adapters.log_blocks import BLOCK_BYTES, BLOCK_SPAN_MS
from lambent.adapters.memory.log_store import MemoryLogStore
from lambent.adapters.sqlite.log_store import SqliteLogStore
from lambent.model.errors import PlatformError
from lambent.ports.log_store import DAY_MS, Batch, Event, GroupKey, LogStore, Query, Record, StreamKey
from lambent.ports.store import WriteFailed

ACCOUNT, REGION = "000000000000", "eu-central-1"
GROUP = GroupKey(ACCOUNT, REGION, "/aws/lambda/f")
A, B = StreamKey(GROUP, "a"), StreamKey(GROUP, "b")


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[LogStore]:
    async with MemoryLogStore() if request.param == "memory" else SqliteLogStore(tmp_path / "logs.db") as opened:
        yield opened


def batch(stream: StreamKey, *events: tuple[int, str], ingested_ms: int = 1_000) -> Batch:
    return Batch(stream, [Record(timestamp_ms, text.encode()) for timestamp_ms, text in events], ingested_ms)


def texts(events: object) -> list[str]:
    return [event.message for event in events]  # type: ignore[attr-defined]


async def test_what_was_appended_is_read_in_order_of_time(store: LogStore) -> None:
    await store.append([batch(A, (1, "one"), (3, "three")), batch(B, (2, "two"), ingested_ms=1_001)])
    events = await store.read(Query(group=GROUP))
    assert [(e.position.timestamp_ms, e.stream, e.ingested_ms, e.message) for e in events] == [
        (1, "a", 1_000, "one"),
        (2, "b", 1_001, "two"),
        (3, "a", 1_000, "three"),
    ]


async def test_a_stream_that_is_written_to_again_after_hours_is_the_same_one(store: LogStore) -> None:
    for hour, (stream, text) in enumerate([(A, "one"), (B, "two"), (B, "three"), (A, "four")]):
        await store.append([batch(stream, (hour, text), ingested_ms=3_600_000 * hour)])

    assert texts(await store.read(Query(group=GROUP, streams=("a",)))) == ["one", "four"]
    assert texts(await store.read(Query(group=GROUP, streams=("b",)))) == ["two", "three"]


async def test_events_of_one_moment_keep_the_order_of_their_arrival(store: LogStore) -> None:
    for text in ("first", "second", "third"):
        await store.append([batch(A, (5, text), (5, text + "!"))])
    expected = ["first", "first!", "second", "second!", "third", "third!"]
    assert texts(await store.read(Query(group=GROUP))) == expected
    assert texts(await store.read(Query(group=GROUP, is_forward=False))) == expected[::-1]


async def test_a_record_of_lines_is_one_event_for_each_with_its_newline(store: LogStore) -> None:
    lines = Record(7, "kept\r\n\nümlaut\n".encode() + b"br\xffken\n", is_lines=True)
    await store.append([Batch(A, [lines, Record(8, b"one\nevent")], 9)])
    events = await store.read(Query(group=GROUP))
    assert texts(events) == ["kept\r\n", "\n", "ümlaut\n", "br\ufffdken\n", "one\nevent"]
    assert len({event.position for event in events}) == 5


async def test_a_range_of_time_includes_its_start_and_not_its_end(store: LogStore) -> None:
    await store.append([batch(A, *((n, str(n)) for n in range(10)))])
    assert texts(await store.read(Query(group=GROUP, start_ms=3, end_ms=6))) == ["3", "4", "5"]
    assert texts(await store.read(Query(group=GROUP, start_ms=3, end_ms=6, is_forward=False))) == ["5", "4", "3"]


async def test_a_page_ends_at_its_limit_or_its_bytes_but_holds_one_event(store: LogStore) -> None:
    await store.append([batch(A, *((n, "x" * 10) for n in range(10)))])
    assert len(await store.read(Query(group=GROUP, limit=3))) == 3
    assert len(await store.read(Query(group=GROUP, limit_bytes=45))) == 4
    assert len(await store.read(Query(group=GROUP, limit_bytes=1))) == 1


async def test_streams_are_chosen_by_name_or_prefix(store: LogStore) -> None:
    names = ["x/1", "x/2", "x", "y"]
    await store.append([batch(StreamKey(GROUP, name), (n, name)) for n, name in enumerate(names)])
    assert texts(await store.read(Query(group=GROUP, streams=("x/2",)))) == ["x/2"]
    assert texts(await store.read(Query(group=GROUP, streams=("y", "x/2", "absent")))) == ["x/2", "y"]
    assert texts(await store.read(Query(group=GROUP, prefix="x/"))) == ["x/1", "x/2"]
    assert await store.read(Query(group=GROUP, streams=("absent",))) == []
    assert await store.read(Query(group=GROUP, streams=())) == []
    assert await store.read(Query(group=GroupKey(ACCOUNT, REGION, "absent"))) == []


async def test_groups_of_other_accounts_and_regions_are_apart(store: LogStore) -> None:
    other = GroupKey("111111111111", REGION, GROUP.name)
    await store.append([batch(A, (1, "mine")), batch(StreamKey(other, "a"), (1, "theirs"))])
    assert texts(await store.read(Query(group=other))) == ["theirs"]
    assert [group.key for group in await store.groups(ACCOUNT, REGION)] == [GROUP]
    assert await store.groups(ACCOUNT, "us-east-1") == []


async def test_groups_are_listed_by_name_with_prefix_and_in_pages(store: LogStore) -> None:
    for name in ("b", "a/2", "a", "a/1", "a/3", "a0"):
        assert await store.create_group(GroupKey(ACCOUNT, REGION, name), created_ms=4)
    assert not await store.create_group(GroupKey(ACCOUNT, REGION, "a"), created_ms=5)
    page = await store.groups(ACCOUNT, REGION, prefix="a/", limit=2)
    assert [group.key.name for group in page] == ["a/1", "a/2"]
    rest = await store.groups(ACCOUNT, REGION, prefix="a/", after="a/2")
    assert [(group.key.name, group.created_ms, group.retention_days, group.stored_bytes) for group in rest] == [
        ("a/3", 4, None, 0)
    ]


async def test_a_change_of_tags_that_fails_leaves_them_as_they_were(store: LogStore) -> None:
    def refused(_: Mapping[str, str]) -> Mapping[str, str]:
        raise ValueError("no")

    assert await store.create_group(GROUP, created_ms=1, tags={"team": "x"})
    assert await store.retag_group(GROUP, lambda before: {**before, "stage": "test"})
    with pytest.raises(ValueError, match="no"):
        await store.retag_group(GROUP, refused)
    assert not await store.retag_group(GroupKey(ACCOUNT, REGION, "absent"), refused)
    assert [group.tags for group in await store.groups(ACCOUNT, REGION)] == [{"team": "x", "stage": "test"}]


async def test_streams_are_listed_by_name_both_ways(store: LogStore) -> None:
    for name in ("n1", "n3", "n2", "m"):
        assert await store.create_stream(StreamKey(GROUP, name), created_ms=4)
    assert not await store.create_stream(StreamKey(GROUP, "m"), created_ms=4)
    assert [s.name for s in await store.streams(GROUP, prefix="n")] == ["n1", "n2", "n3"]
    assert [s.name for s in await store.streams(GROUP, after="n1", limit=1)] == ["n2"]
    assert [s.name for s in await store.streams(GROUP, descending=True, after="n3")] == ["n2", "n1", "m"]


async def test_streams_are_listed_by_their_last_event_both_ways(store: LogStore) -> None:
    await store.create_stream(StreamKey(GROUP, "empty"), created_ms=4)
    await store.append([batch(A, (9, "")), batch(B, (5, "")), batch(StreamKey(GROUP, "c"), (9, ""))])
    assert [s.name for s in await store.streams_by_time(GROUP)] == ["empty", "b", "a", "c"]
    assert [s.name for s in await store.streams_by_time(GROUP, descending=True, limit=2)] == ["c", "a"]
    assert [s.name for s in await store.streams_by_time(GROUP, descending=True, after=(9, "a"))] == ["b", "empty"]
    assert [s.name for s in await store.streams_by_time(GROUP, after=(5, "b"))] == ["a", "c"]


async def test_a_stream_knows_the_times_of_its_events(store: LogStore) -> None:
    await store.append([batch(A, (50, ""), (60, ""), ingested_ms=70)])
    await store.append([batch(A, (40, ""), ingested_ms=80)])
    (stream,) = await store.streams(GROUP)
    assert (stream.created_ms, stream.first_event_ms, stream.last_event_ms, stream.last_ingested_ms) == (70, 40, 60, 80)


async def test_a_deleted_stream_takes_its_events_along_and_leaves_the_others(store: LogStore) -> None:
    await store.append([batch(A, (1, "aaa")), batch(B, (2, "b"))])
    assert await store.delete_stream(A)
    assert not await store.delete_stream(A)
    assert texts(await store.read(Query(group=GROUP))) == ["b"]
    assert (await store.groups(ACCOUNT, REGION))[0].stored_bytes == 1
    await store.append([batch(A, (3, "new"))])
    assert texts(await store.read(Query(group=GROUP))) == ["b", "new"]


async def test_a_deleted_group_comes_back_empty_with_its_next_event(store: LogStore) -> None:
    await store.append([batch(A, (1, "old"))])
    await store.set_retention(GROUP, 7)
    assert await store.delete_group(GROUP)
    assert not await store.delete_group(GROUP)
    assert not await store.delete_stream(A)
    await store.append([batch(A, (2, "new"))])
    assert texts(await store.read(Query(group=GROUP))) == ["new"]
    assert (await store.groups(ACCOUNT, REGION))[0].retention_days is None


async def test_trimming_removes_what_retention_let_expire_and_nothing_else(store: LogStore) -> None:
    kept = GroupKey(ACCOUNT, REGION, "kept")
    now_ms = 100 * DAY_MS
    old, young = now_ms - 3 * DAY_MS - 1, now_ms - 3 * DAY_MS
    for group in (GROUP, kept):
        await store.append([batch(StreamKey(group, "s"), (old, "old")), batch(StreamKey(group, "s"), (young, "young"))])
    assert await store.set_retention(GROUP, 3)
    assert not await store.set_retention(GroupKey(ACCOUNT, REGION, "absent"), 3)
    assert await store.trim(now_ms) == len("old")
    assert await store.trim(now_ms) == 0
    assert texts(await store.read(Query(group=GROUP))) == ["young"]
    assert texts(await store.read(Query(group=kept))) == ["old", "young"]
    groups = await store.groups(ACCOUNT, REGION)
    assert [(group.key.name, group.retention_days, group.stored_bytes) for group in groups] == [
        (GROUP.name, 3, 5),
        ("kept", None, 8),
    ]


async def test_records_spread_over_days_and_beyond_a_block_are_all_found(store: LogStore) -> None:
    records = [Record(n * BLOCK_SPAN_MS // 2, b"%d" % n) for n in range(20)]
    large = [Record(records[-1].timestamp_ms, bytes([65 + n]) * (BLOCK_BYTES // 2)) for n in range(5)]
    await store.append([Batch(A, [*reversed(records), *large], 1)])
    found = await store.read(Query(group=GROUP, limit_bytes=10**9))
    assert [event.message[:2] for event in found] == [str(n) for n in range(20)] + ["AA", "BB", "CC", "DD", "EE"]
    middle = records[7].timestamp_ms
    assert texts(await store.read(Query(group=GROUP, start_ms=middle, end_ms=middle + 1))) == ["7"]


moments = st.integers(0, 40).map(lambda n: n * BLOCK_SPAN_MS // 8)
batches_of_events = st.lists(
    st.tuples(st.sampled_from(["a", "b", "ab"]), st.lists(moments, min_size=1, max_size=6)), max_size=12
)


async def all_pages(store: LogStore, query: Query) -> list[Event]:
    found: list[Event] = []
    while page := await store.read(query):
        assert len(page) <= query.limit
        found += page
        last = page[-1].position
        query = replace(query, origin=last._replace(line=last.line + 1) if query.is_forward else last)
    return found


@settings(max_examples=40, deadline=None)
@given(
    batches=batches_of_events,
    start_ms=moments,
    length=moments,
    limit=st.integers(1, 5),
    is_forward=st.booleans(),
    streams=st.sampled_from([None, ("a",), ("a", "b")]),
    prefix=st.sampled_from(["", "a"]),
)
async def test_pages_of_any_query_hold_each_event_once_and_in_order(
    batches: list[tuple[str, list[int]]],
    start_ms: int,
    length: int,
    limit: int,
    is_forward: bool,
    streams: tuple[str, ...] | None,
    prefix: str,
) -> None:
    expected: list[tuple[int, int, int, str]] = []
    for number, (name, times) in enumerate(batches):
        for line, time in enumerate(sorted(times)):
            is_wanted = (streams is None or name in streams) and name.startswith(prefix)
            if is_wanted and start_ms <= time < start_ms + length:
                expected.append((time, number, line, name))
    expected.sort(reverse=not is_forward)
    query = Query(
        group=GROUP,
        streams=streams,
        prefix=prefix,
        start_ms=start_ms,
        end_ms=start_ms + length,
        limit=limit,
        is_forward=is_forward,
    )
    with TemporaryDirectory() as directory:
        for opened in (MemoryLogStore(), SqliteLogStore(Path(directory) / "logs.db")):
            await check_pages(opened, batches, query, expected)


async def check_pages(
    opened: MemoryLogStore | SqliteLogStore,
    batches: list[tuple[str, list[int]]],
    query: Query,
    expected: list[tuple[int, int, int, str]],
) -> None:
    async with opened as store:
        for number, (name, times) in enumerate(batches):
            await store.append([batch(StreamKey(GROUP, name), *((t, str(number)) for t in times))])
        events = await all_pages(store, query)
    found = [(event.position.timestamp_ms, int(event.message), event.stream) for event in events]
    assert found == [(time, number, name) for time, number, _, name in expected]


async def test_a_reopened_file_holds_what_was_appended(tmp_path: Path) -> None:
    async with SqliteLogStore(tmp_path / "logs.db") as store:
        await store.append([batch(A, (1, "kept"))])
        before = await store.read(Query(group=GROUP))
    async with SqliteLogStore(tmp_path / "logs.db") as store:
        assert await store.read(Query(group=GROUP)) == before
        await store.append([batch(A, (1, "later"))])
        assert texts(await store.read(Query(group=GROUP))) == ["kept", "later"]


async def test_what_was_appended_survives_a_kill(tmp_path: Path) -> None:
    script = """
import asyncio, sys
from pathlib import Path
from tempfile import TemporaryDirectory
from lambent.adapters.sqlite.log_store import SqliteLogStore
from lambent.ports.log_store import *
async def main():
    async with SqliteLogStore(Path(sys.argv[1])) as store:
        await store.append([Batch(StreamKey(GroupKey("a", "r", "g"), "s"), [Record(1, b"still here")], 1)])
        print("appended", flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""
    path = tmp_path / "logs.db"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, path, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"appended\n"
    process.kill()
    await process.wait()
    async with SqliteLogStore(path) as store:
        assert texts(await store.read(Query(group=GroupKey("a", "r", "g")))) == ["still here"]


async def test_what_a_deletion_left_at_a_crash_is_never_seen_and_goes_with_the_next_trim(tmp_path: Path) -> None:
    async with SqliteLogStore(tmp_path / "logs.db") as store:
        await store.append([batch(A, (1, "left"))])
        await store._write(lambda writer: writer.drop_group(GROUP))
        await store.append([batch(A, (2, "new"))])
        assert texts(await store.read(Query(group=GROUP))) == ["new"]
        assert await store.trim(0) == len("left")


async def test_a_full_disk_fails_the_append_whole(tmp_path: Path) -> None:
    async with SqliteLogStore(tmp_path / "logs.db") as store:
        await store.append([batch(A, (1, "before"))])
        connection = store._writer._connection
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(WriteFailed, match=r"logs\.db could not be written: database or disk is full"):
            await store.append([batch(B, (2, "never")), Batch(A, [Record(3, os.urandom(100_000))], 1)])
        connection.execute("PRAGMA max_page_count = 100000")
        await store.append([batch(B, (4, "after"))])
        assert texts(await store.read(Query(group=GROUP))) == ["before", "after"]


async def test_a_batch_that_cannot_be_kept_takes_nothing_with_it(tmp_path: Path) -> None:
    async with SqliteLogStore(tmp_path / "logs.db") as store:
        with pytest.raises(OverflowError):
            await store.append([batch(A, (1, "never")), batch(B, (2**70, "too far in the future"))])
        await store.append([batch(A, (2, "after"))])
        assert texts(await store.read(Query(group=GROUP))) == ["after"]


def damage_header(path: Path) -> None:
    path.write_bytes(b"no database at all" * 5_000)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20_000])


def scribble(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:16_384] + b"\x55" * (path.stat().st_size - 16_384))


def belong_to_another(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA application_id = 7")
    connection.close()


@pytest.mark.parametrize("harm", [damage_header, empty, truncate, scribble, belong_to_another])
async def test_a_damaged_log_file_is_named_and_left_as_it_is(tmp_path: Path, harm: object) -> None:
    path = tmp_path / "logs.db"
    async with SqliteLogStore(path) as store:
        for n in range(50):
            await store.append([Batch(A, [Record(n, os.urandom(1_000))], 1)])
    harm(path)  # type: ignore[operator]
    content = path.read_bytes()
    with pytest.raises(PlatformError, match=r"logs\.db cannot be used: .* restore it from a backup"):
        async with SqliteLogStore(path):
            pass
    assert path.read_bytes() == content


async def test_damage_among_the_events_is_named_when_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "logs.db"
    async with SqliteLogStore(path) as store:
        for n in range(50):
            await store.append([Batch(A, [Record(n, os.urandom(20_000).hex().encode())], 1)])
    content = bytearray(path.read_bytes())
    size = len(content)
    content[size // 2 : size - 3 * 16_384] = b"\x55" * (size - 3 * 16_384 - size // 2)
    path.write_bytes(content)
    with pytest.raises(PlatformError, match=r"logs\.db cannot be used"):
        async with SqliteLogStore(path) as store:
            await store.read(Query(group=GROUP, limit_bytes=10**9))


async def test_an_event_that_is_not_what_was_written_is_named(tmp_path: Path) -> None:
    async with SqliteLogStore(tmp_path / "logs.db") as store:
        await store.append([batch(A, (1, "text"))])
        for payload in (b"", b"\x55\x55", b"\x78\x55"):
            store._writer._connection.execute("UPDATE blocks SET payload = ?", (payload,))
            with pytest.raises(PlatformError, match=r"logs\.db cannot be used: block 1"):
                await store.read(Query(group=GROUP))


async def test_a_log_file_of_a_later_format_is_refused_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "logs.db"
    async with SqliteLogStore(path):
        pass
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 9")
    connection.close()
    with pytest.raises(PlatformError, match="has format 9; this Lambent reads format 2"):
        async with SqliteLogStore(path):
            pass


async def test_a_log_file_of_the_first_format_is_brought_up_to_date_with_all_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "logs.db"
    async with SqliteLogStore(path) as store:
        await store.append([batch(A, (1, "kept"))])
    with sqlite3.connect(path) as connection:
        connection.executescript("ALTER TABLE groups DROP COLUMN tags; PRAGMA user_version = 1")
    connection.close()
    async with SqliteLogStore(path) as store:
        assert await store.retag_group(GROUP, lambda before: {**before, "team": "x"})
        assert texts(await store.read(Query(group=GROUP))) == ["kept"]
    async with SqliteLogStore(path) as store:
        assert [group.tags for group in await store.groups(ACCOUNT, REGION)] == [{"team": "x"}]


async def test_appends_go_on_while_a_group_is_being_deleted(tmp_path: Path) -> None:
    async with SqliteLogStore(tmp_path / "logs.db") as store:
        other = StreamKey(GroupKey(ACCOUNT, REGION, "other"), "s")
        await store.append([Batch(A, [Record(n * BLOCK_SPAN_MS * 2, b"x") for n in range(500)], 1)])
        deleting = asyncio.create_task(store.delete_group(GROUP))
        await asyncio.sleep(0)
        await store.append([batch(other, (1, "meanwhile"))])
        assert not deleting.done()
        assert await deleting
        assert texts(await store.read(Query(group=other.group))) == ["meanwhile"]
