"""A stream at work: each shard is read, filtered, dealt to lanes, and checkpointed as far as all of it is done."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Collection, Sequence
from dataclasses import replace

from lambent.model.event_filter import compile_filter
from lambent.model.source_record import Checkpoint, LaneCheckpoint, Page, Position, SourceRecord, Start
from lambent.pollers.backoff import SOURCE
from lambent.pollers.batch_run import Records
from lambent.pollers.shard_lane import ShardLane, Work
from lambent.pollers.shards import Opening, Progress, openings, vanished
from lambent.ports.sources import CursorExpired, ShardLost, SourceLost, SourceUnavailable, StreamSource
from lambent.ports.store import WriteFailed

log = logging.getLogger(__name__)

_LIST_INTERVAL_S = 60.0
_WAITING_BYTES = 16 << 20
"""Of one shard, beyond which nothing more of it is read. Of records it is a page, beside what its lanes need."""
_WRITE_WAIT_S = 1.0
_READS_BEHIND = 5
"""In an interval, while there is more to read: as many as Kinesis allows."""


class StreamPoller:
    """`run` ends some time after `stop`: when what is being invoked has ended."""

    def __init__(self, source: StreamSource, work: Work, started: asyncio.Event) -> None:
        """`started` is set once it is settled where reading begins, or that it cannot begin yet."""
        self._source = source
        self._started = started
        self._work = work
        self._news = source.changed or asyncio.Event()  # a shard has ended, or is ours or somebody else's now
        self._readers: dict[str, ShardReader] = {}
        self._lost: SourceLost | None = None
        self._failures = 0

    async def run(self) -> None:
        """Raises SourceLost."""
        async with asyncio.TaskGroup() as self._group:
            checkpoints: dict[str, Checkpoint] = {}
            while not self._work.stopping.is_set and self._lost is None:
                self._news.clear()
                try:
                    if not checkpoints:
                        checkpoints = dict(await self._source.checkpoints())
                    await self._start_shards(checkpoints)
                except SourceLost as error:
                    self._lost = error
                    self._let_go(())
                except ShardLost:
                    await self._work.stopping.wait_for(self._news, timeout_s=_WRITE_WAIT_S)
                except (SourceUnavailable, WriteFailed) as error:
                    self._failures += 1
                    self._work.results.problem(str(error))
                    self._started.set()
                    await self._work.stopping.pause(SOURCE.wait_s(self._failures, self._work.draw()))
                else:
                    self._failures = 0
                    self._started.set()
                    await self._work.stopping.wait_for(self._news, timeout_s=_LIST_INTERVAL_S)
        if self._lost is not None:
            raise self._lost

    def stop(self) -> None:
        self._work.stopping.set()

    async def _start_shards(self, checkpoints: dict[str, Checkpoint]) -> None:
        shards = await self._source.shards()
        if self._source.changed is not None:
            self._let_go({shard.id for shard in shards})
        found = openings(shards, checkpoints, self._work.mapping, self._work.clock())
        for opening in reversed(found):
            if opening.is_new and opening.shard not in self._readers:
                await self._source.commit(opening.shard, opening.checkpoint)
                checkpoints[opening.shard] = opening.checkpoint
        for opening in found:
            if opening.shard not in self._readers and not opening.checkpoint.is_finished:
                await self._start(opening, checkpoints)
        for shard in vanished(shards, checkpoints):
            await self._source.forget(shard)
            del checkpoints[shard]

    async def _start(self, opening: Opening, checkpoints: dict[str, Checkpoint]) -> None:
        reader = ShardReader(self._source, self._work, opening)
        if opening.position.start is Start.LATEST:
            await reader.open()  # at once: what comes after the start is not to be missed
        self._readers[reader.shard] = reader
        self._group.create_task(self._read(reader, checkpoints), name=f"read {reader.shard}")

    async def _read(self, reader: ShardReader, checkpoints: dict[str, Checkpoint]) -> None:
        await reader.run()
        await self._source.close(reader.shard)
        checkpoints[reader.shard] = reader.committed
        del self._readers[reader.shard]
        self._news.set()

    def _let_go(self, ours: Collection[str]) -> None:
        """Stop reading all but these."""
        for shard, reader in self._readers.items():
            if shard not in ours:
                reader.stop()


class ShardReader:
    """Reads one shard to its end, until it is lost or polling stops; `committed` is its checkpoint."""

    def __init__(self, source: StreamSource, work: Work, opening: Opening) -> None:
        mapping = work.mapping
        self._source = source
        self._work = work = replace(work, stopping=work.stopping.part())
        self.shard = opening.shard
        self._position = opening.position
        self._cursor: str | None = None
        self.committed = opening.checkpoint
        self._passes = compile_filter(mapping.filters, mapping.kind.filter_source)
        self._progress = Progress(opening.checkpoint.after)
        self._room = asyncio.Event()
        self._committing = asyncio.Lock()
        envelope = source.envelope(opening.shard)
        self._lanes = [
            ShardLane(work, opening.shard, envelope, checkpoint, self._done)
            for checkpoint in _lane_checkpoints(opening.checkpoint, mapping.parallelization_factor or 1)
        ]
        self._records_maximum = source.page_limit + 2 * mapping.batch_size * len(self._lanes)

    async def run(self) -> None:
        try:
            is_end = await self._run_lanes()
        finally:
            for lane in self._lanes:
                self._work.results.figures.caught_up(lane)
        if is_end and not self._work.stopping.is_set:
            await self._commit(is_finished=True)

    async def _run_lanes(self) -> bool:
        async with asyncio.TaskGroup() as group:
            for lane in self._lanes:
                group.create_task(lane.run(), name=f"lane of {self.shard}")
            is_end = await self._read()
            for lane in self._lanes:
                lane.close()
        return is_end

    def stop(self) -> None:
        """End what is being invoked, and read nothing more."""
        self._work.stopping.set()

    async def _read(self) -> bool:
        """True at the end of the shard, False when polling stops."""
        failures = 0
        while not self._work.stopping.is_set:
            await self._wait_for_room()
            now_s = self._work.clock()
            try:
                page = await self._source.fetch(self.shard, self._cursor or await self.open(), self._source.page_limit)
            except ShardLost:
                self.stop()
                break
            except SourceUnavailable as error:
                if isinstance(error, CursorExpired):
                    self._cursor = None
                failures += 1
                if not isinstance(error, CursorExpired) or failures > 1:
                    self._work.results.problem(str(error))
                    await self._work.stopping.pause(SOURCE.wait_s(failures, self._work.draw()))
                continue
            failures = 0
            await self._deal(page, now_s)
            self._cursor = page.cursor
            if page.cursor is None:
                return True
            interval_s = self._source.poll_interval_s
            await self._work.stopping.pause(interval_s if page.is_last else interval_s / _READS_BEHIND)
        return False

    async def open(self) -> str:
        self._cursor = await self._source.open(self.shard, self._position)
        if self._position.start is Start.LATEST:  # another time it would be a later one
            self._position = Position(start=Start.AT_TIMESTAMP, at_s=self.committed.since_s)
        return self._cursor

    async def _deal(self, page: Page, now_s: float) -> None:
        """Give each record to its lane; those that no filter wants are done with."""
        before, counts = self._progress.after, self._work.results.figures.counts
        counts.polled += len(page.records)
        for record in page.records:
            lane = self._lanes[zlib.crc32(record.order_key.encode()) % len(self._lanes)]
            self._progress.take(record.id)
            if self._is_done(record, lane):
                self._progress.done((record.id,))
            elif not self._passes(record.document):
                counts.filtered_out += 1
                self._progress.done((record.id,))
            else:
                lane.add(record)
        if page.records:
            self._position = Position(after=page.records[-1].id)
        if page.is_last:
            for lane in self._lanes:
                lane.read_until(now_s)
        if self._progress.after != before:
            await self._commit()

    def _is_done(self, record: SourceRecord, lane: ShardLane) -> bool:
        """One lane is never behind; to it a record of a lower number is one of a topic that was made anew."""
        return len(self._lanes) > 1 and lane.is_behind(record)

    async def _wait_for_room(self) -> None:
        while not self._has_room() and not self._work.stopping.is_set:
            self._room.clear()
            await self._work.stopping.wait_for(self._room)

    def _has_room(self) -> bool:
        waiting_bytes = sum(lane.waiting_bytes for lane in self._lanes)
        return self._progress.outstanding < self._records_maximum and waiting_bytes < _WAITING_BYTES

    async def _done(self, records: Records) -> None:
        self._progress.done(record.id for record in records)
        self._room.set()
        await self._commit()

    async def _commit(self, *, is_finished: bool = False) -> None:
        """Make it durable how far the shard is; as long as that fails, nothing goes on."""
        async with self._committing:
            checkpoint = self._checkpoint(is_finished=is_finished)
            while checkpoint != self.committed:
                try:
                    await self._source.commit(self.shard, checkpoint)
                except ShardLost:
                    self.stop()
                    return
                except (SourceUnavailable, WriteFailed) as error:
                    self._work.results.problem(str(error))
                    if self._work.stopping.is_set:
                        return
                    await self._work.stopping.pause(_WRITE_WAIT_S)
                else:
                    self.committed = checkpoint

    def _checkpoint(self, *, is_finished: bool) -> Checkpoint:
        if is_finished:
            return Checkpoint(after=self._progress.after, is_finished=True)
        is_simple = len(self._lanes) == 1 and not self._work.mapping.tumbling_window_s
        lanes = () if is_simple else tuple(lane.checkpoint for lane in self._lanes)
        return Checkpoint(after=self._progress.after, since_s=self.committed.since_s, lanes=lanes)


def _lane_checkpoints(checkpoint: Checkpoint, lanes: int) -> Sequence[LaneCheckpoint]:
    """Records belong to other lanes once their number has changed: what was known of each is of no use then."""
    if len(checkpoint.lanes) == lanes:
        return checkpoint.lanes
    return [LaneCheckpoint(after=checkpoint.after) for _ in range(lanes)]
