"""One suite for every store; what only a file can suffer is tested on SQLite."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lambent.adapters.memory.store import MemoryStore
from lambent.adapters.sqlite.store import SqliteStore
from lambent.model.errors import PlatformError
from lambent.ports.store import ABSENT, Entry, Revision, RevisionMismatch, Store, WriteFailed


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "store.db") as opened:
        yield opened


async def test_what_was_put_is_found_with_the_revision_of_its_write(store: Store) -> None:
    revision = await store.put("a", b"1")
    assert await store.get("a") == Entry("a", b"1", revision)
    assert await store.get("b") is None


async def test_revisions_grow_with_every_write_of_any_key(store: Store) -> None:
    revisions = [await store.put(key, b"") for key in ("b", "a", "b", "c")]
    assert revisions == sorted(set(revisions))


async def test_a_put_expecting_absence_is_refused_once_the_key_exists(store: Store) -> None:
    await store.put("a", b"1", expected=ABSENT)
    with pytest.raises(RevisionMismatch, match="a has changed"):
        await store.put("a", b"2", expected=ABSENT)
    entry = await store.get("a")
    assert entry is not None
    assert entry.value == b"1"


async def test_only_one_of_many_writers_expecting_the_same_revision_wins(store: Store) -> None:
    revision = await store.put("a", b"0")
    outcomes = await asyncio.gather(
        *(store.put("a", b"%d" % n, expected=revision) for n in range(20)), return_exceptions=True
    )
    assert sum(isinstance(outcome, RevisionMismatch) for outcome in outcomes) == 19


async def test_a_deleted_key_is_gone_and_its_old_revision_never_matches_again(store: Store) -> None:
    revision = await store.put("a", b"1")
    await store.delete("a", expected=revision)
    assert await store.get("a") is None
    with pytest.raises(RevisionMismatch):
        await store.delete("a", expected=revision)
    assert await store.put("a", b"1") > revision


async def test_deleting_an_absent_key_is_no_error(store: Store) -> None:
    await store.delete("a")
    await store.delete("a", expected=ABSENT)


async def test_a_scan_gives_the_keys_below_its_prefix_in_order_and_in_pages(store: Store) -> None:
    for key in ("f/b", "g/a", "f/c", "f/a", "e/z", "f0", "f/\U0010ffff", "f/é"):
        await store.put(key, key.encode())
    keys = [entry.key for entry in await store.scan("f/")]
    assert keys == ["f/a", "f/b", "f/c", "f/é", "f/\U0010ffff"]
    page = await store.scan("f/", after="f/a", limit=2)
    assert [(entry.key, entry.value) for entry in page] == [("f/b", b"f/b"), ("f/c", b"f/c")]
    assert await store.scan("f/", after="f0") == []
    assert [entry.key for entry in await store.scan("f/", after="a", limit=1)] == ["f/a"]


async def test_a_watcher_knows_of_a_change_before_its_writer_returns(store: Store) -> None:
    seen: list[str] = []
    unsubscribe = store.watch("f/", seen.append)
    await store.put("f/a", b"")
    assert seen == ["f/a"]
    await store.put("g/a", b"")
    await store.delete("f/a")
    await store.delete("f/a")
    assert seen == ["f/a", "f/a"]
    unsubscribe()
    await store.put("f/a", b"")
    assert seen == ["f/a", "f/a"]


async def test_a_refused_write_is_not_told_to_watchers(store: Store) -> None:
    seen: list[str] = []
    store.watch("", seen.append)
    with pytest.raises(RevisionMismatch):
        await store.put("a", b"", expected=Revision(7))
    assert seen == []


async def test_a_writer_who_gives_up_waiting_leaves_the_store_working(store: Store) -> None:
    task = asyncio.create_task(store.put("a", b"1"))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await store.put("b", b"2")
    assert await store.get("b") is not None


KEYS = st.sampled_from(["a", "a/", "a/b", "a/c", "a0", "b", "é", "\U0001f600"])


class StoreMachine(RuleBasedStateMachine):
    """Both stores beside a plain dictionary; SQLite is closed and opened again at any moment."""

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.directory = TemporaryDirectory()
        self.path = Path(self.directory.name) / "store.db"
        self.sqlite = self.runner.run(SqliteStore(self.path).__aenter__())
        self.memory = MemoryStore()
        self.model: dict[str, bytes] = {}
        self.stale: dict[str, tuple[Revision, Revision]] = {}

    def both(self, key: str) -> tuple[Revision, Revision]:
        entries = [self.runner.run(store.get(key)) for store in (self.sqlite, self.memory)]
        return tuple(entry.revision if entry else ABSENT for entry in entries)  # type: ignore[return-value]

    @rule(key=KEYS, value=st.binary(max_size=8), is_expected=st.booleans())
    def put(self, key: str, value: bytes, is_expected: bool) -> None:
        self.stale[key] = self.both(key)
        for store, revision in zip((self.sqlite, self.memory), self.stale[key], strict=True):
            assert self.runner.run(store.put(key, value, expected=revision if is_expected else None)) > revision
        self.model[key] = value

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        for store, revision in zip((self.sqlite, self.memory), self.both(key), strict=True):
            self.runner.run(store.delete(key, expected=revision))
        self.model.pop(key, None)

    @precondition(lambda self: self.stale)
    @rule(data=st.data())
    def write_with_a_stale_revision(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.stale)))
        for store, revision, current in zip((self.sqlite, self.memory), self.stale[key], self.both(key), strict=True):
            if revision == current:
                continue
            with pytest.raises(RevisionMismatch):
                self.runner.run(store.put(key, b"never", expected=revision))

    @rule()
    def reopen(self) -> None:
        self.runner.run(self.sqlite.__aexit__(None, None, None))
        self.sqlite = self.runner.run(SqliteStore(self.path).__aenter__())

    @rule(prefix=st.sampled_from(["", "a", "a/", "z"]), after=KEYS | st.just(""), limit=st.integers(1, 9))
    def scan(self, prefix: str, after: str, limit: int) -> None:
        expected = [
            (key, self.model[key])
            for key in sorted(self.model, key=str.encode)
            if key.startswith(prefix) and key > after
        ][:limit]
        for store in (self.sqlite, self.memory):
            found = self.runner.run(store.scan(prefix, after=after, limit=limit))
            assert [(entry.key, entry.value) for entry in found] == expected

    @invariant()
    def same_content(self) -> None:
        if hasattr(self, "runner"):
            self.scan("", "", 9)

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.run(self.sqlite.__aexit__(None, None, None))
            self.runner.close()
            self.directory.cleanup()


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)


async def test_a_reopened_file_holds_what_was_acknowledged_and_continues_its_revisions(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "s.db") as store:
        await store.put("a", b"1")
        last = await store.put("b", b"2")
        await store.delete("b")
    async with SqliteStore(tmp_path / "s.db") as store:
        assert await store.get("a") is not None
        assert await store.put("b", b"3") > last


WRITE_UNTIL_KILLED = """
import asyncio, sys
from pathlib import Path
from lambent.adapters.sqlite.store import SqliteStore

async def main():
    async with SqliteStore(Path(sys.argv[1])) as store:
        for first in range(0, 1_000_000, 20):
            await asyncio.gather(*(store.put(f"{n:07}", b"x" * 500) for n in range(first, first + 20)))
            print(first + 20, flush=True)

asyncio.run(main())
"""


def test_a_killed_process_loses_nothing_that_it_had_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with subprocess.Popen([sys.executable, "-c", WRITE_UNTIL_KILLED, path], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        acknowledged = [int(line) for line, _ in zip(writer.stdout, range(50), strict=False)][-1]
        writer.kill()

    async def keys() -> list[str]:
        async with SqliteStore(path) as store:
            return [entry.key for entry in await store.scan("", limit=1_000_000)]

    found = asyncio.run(keys())
    assert found[:acknowledged] == [f"{n:07}" for n in range(acknowledged)]
    assert len(found) % 20 == 0


async def test_writes_under_way_at_closing_are_finished_and_later_ones_refused(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "s.db") as store:
        writes = [asyncio.create_task(store.put(f"{n}", b"")) for n in range(50)]
        await asyncio.sleep(0)
    assert len({await write for write in writes}) == 50
    with pytest.raises(WriteFailed, match="is closed"):
        await store.put("late", b"")


async def test_writes_that_arrive_together_share_a_commit(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "s.db") as store:
        statements: list[str] = []
        store._writer.set_trace_callback(statements.append)
        await asyncio.gather(*(store.put(f"{n}", b"") for n in range(100)))
        assert statements.count("COMMIT") == 1
        store._writer.set_trace_callback(None)


async def test_nobody_reads_what_the_watchers_have_not_been_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_in_the_file, may_return, commit = threading.Event(), threading.Event(), SqliteStore._commit

    def lingering(store: SqliteStore, batch: Any) -> Any:
        outcomes = commit(store, batch)
        is_in_the_file.set()
        may_return.wait()
        return outcomes

    async with SqliteStore(tmp_path / "store.db") as store:
        kept, removed = await store.put("f/a", b"1"), await store.put("f/b", b"1")
        before = [Entry("f/a", b"1", kept), Entry("f/b", b"1", removed)]
        told: list[str] = []
        store.watch("f/", told.append)
        monkeypatch.setattr(SqliteStore, "_commit", lingering)
        writing = asyncio.gather(store.put("f/a", b"2"), store.delete("f/b"), store.put("f/c", b"2"))
        await asyncio.to_thread(is_in_the_file.wait)

        assert [await store.get("f/a"), await store.get("f/b")] == before
        assert await store.get("f/c") is None
        assert await store.scan("f/") == before
        assert await store.scan("f/", after="f/a", limit=1) == before[1:]
        assert told == []
        may_return.set()
        await writing

        assert told == ["f/a", "f/b", "f/c"]
        assert [(entry.key, entry.value) for entry in await store.scan("f/")] == [("f/a", b"2"), ("f/c", b"2")]


async def test_a_full_disk_fails_the_write_and_changes_nothing(tmp_path: Path) -> None:
    seen: list[str] = []
    async with SqliteStore(tmp_path / "s.db") as store:
        await store.put("a", b"1")
        store.watch("", seen.append)
        pages = store._writer.execute("PRAGMA page_count").fetchone()[0]
        store._writer.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(WriteFailed, match=r"s\.db could not be written: database or disk is full"):
            await store.put("a", bytes(1_000_000))
        assert seen == []
        store._writer.execute("PRAGMA max_page_count = 100000")
        entry = await store.get("a")
        assert entry is not None
        assert entry.value == b"1"
        await store.put("a", b"2")


def damage_header(path: Path) -> None:
    path.write_bytes(b"no database at all" * 100)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def scribble(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:] = b"\x55" * (len(content) - 4096)
    path.write_bytes(content)


def belong_to_another(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA application_id = 7")
    connection.close()


@pytest.mark.parametrize("harm", [damage_header, empty, truncate, scribble, belong_to_another])
async def test_a_damaged_file_is_named_and_left_as_it_is(tmp_path: Path, harm: object) -> None:
    path = tmp_path / "s.db"
    async with SqliteStore(path) as store:
        for n in range(100):
            await store.put(f"{n}", bytes(1_000))
    harm(path)  # type: ignore[operator]
    content = path.read_bytes()
    with pytest.raises(PlatformError, match=r"s\.db cannot be used: .* restore it from a backup"):
        async with SqliteStore(path):
            pass
    assert path.read_bytes() == content


async def test_a_file_of_a_later_format_is_refused_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    async with SqliteStore(path):
        pass
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 9")
    connection.close()
    with pytest.raises(PlatformError, match="has format 9; this Lambent reads format 1"):
        async with SqliteStore(path):
            pass


async def test_a_journal_without_its_file_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "s.db-wal").write_bytes(b"the last writes")
    with pytest.raises(PlatformError, match="its journal"):
        async with SqliteStore(tmp_path / "s.db"):
            pass
    assert (tmp_path / "s.db-wal").read_bytes() == b"the last writes"


async def test_a_directory_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match=r"absent/s\.db could not be made"):
        async with SqliteStore(tmp_path / "absent" / "s.db"):
            pass
