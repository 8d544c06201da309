"""One lane of a shard: its records in order, batch by batch, each batch until it is done with.

A shard has as many lanes as the mapping's ParallelizationFactor; records with the same partition key share one.
"""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import assert_never

import msgspec

from lambent.model.event_source_mapping import EventSourceMapping
from lambent.model.invocation import InvokeResult, RequestId
from lambent.model.source_record import Envelope, LaneCheckpoint, SourceRecord
from lambent.pollers.backoff import FUNCTION, THROTTLED
from lambent.pollers.batch_run import BatchRun, GiveUp, Invoke, Records, RunPolicy, Wait
from lambent.pollers.batching import Batcher, window_s
from lambent.pollers.calls import Caller, Failed, Refused, Succeeded
from lambent.pollers.failed_batches import FailedBatch, outcome
from lambent.pollers.responses import failed_ids, is_state_too_large, offset_in, text, window_state
from lambent.pollers.results import Results
from lambent.pollers.stopping import Stopping
from lambent.pollers.tumbling import TumblingWindow
from lambent.ports.event_queue import EventQueue, Item
from lambent.ports.store import WriteFailed

log = logging.getLogger(__name__)

_AROUND_BYTES = 4_096
_WRITE_WAIT_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What all lanes of a mapping share."""

    mapping: EventSourceMapping
    policy: RunPolicy
    caller: Caller
    results: Results
    outcomes: EventQueue
    stopping: Stopping
    clock: Callable[[], float]
    """Epoch seconds."""
    draw: Callable[[], float] = random.random


class ShardLane:
    """`done` is told of records that have left, in order, and returns once that is durable."""

    def __init__(
        self,
        work: Work,
        shard: str,
        envelope: Envelope,
        checkpoint: LaneCheckpoint,
        done: Callable[[Records], Awaitable[None]],
    ) -> None:
        mapping = work.mapping
        self._work = work
        self._figures = work.results.figures
        self._shard = shard
        self._envelope = envelope
        self._done = done
        self._after = checkpoint.after
        self._window = TumblingWindow(mapping.tumbling_window_s, checkpoint) if mapping.tumbling_window_s else None
        self._batcher = Batcher(
            size=mapping.batch_size,
            window_s=window_s(mapping),
            group=self._window.start_of if self._window else None,
        )
        self._news = asyncio.Event()
        self._read_until_s = 0.0
        self._is_closed = False
        self._is_busy = False
        self._request_id = RequestId("")
        self._id_of = offset_in(shard) if mapping.topics else text

    @property
    def checkpoint(self) -> LaneCheckpoint:
        if self._window is None or self._window.start_s is None:
            return LaneCheckpoint(after=self._after)
        return LaneCheckpoint(after=self._after, window_start_s=self._window.start_s, state=self._window.state)

    @property
    def waiting_bytes(self) -> int:
        return self._batcher.bytes

    def is_behind(self, record: SourceRecord) -> bool:
        """The lane had done with the record before its shard was read again."""
        return self._after is not None and int(record.id) <= int(self._after)

    def add(self, record: SourceRecord) -> None:
        self._batcher.add(record, self._work.clock())
        self._news.set()

    def read_until(self, epoch_s: float) -> None:
        """All that came to the shard before this time was read."""
        self._read_until_s = epoch_s
        if not self._is_busy and not len(self._batcher):
            self._figures.caught_up(self)
        self._news.set()

    def close(self) -> None:
        """Nothing more will come."""
        self._is_closed = True
        self._news.set()

    async def run(self) -> None:
        """Until all is done that was added before `close`, or polling stops."""
        work = self._work
        while not work.stopping.is_set:
            self._news.clear()
            if self._is_window_over():
                await self._finish_window(is_early=False)
            elif batch := self._batcher.take(work.clock(), is_final=self._is_closed or self._is_window_read()):
                self._is_busy = True
                await self._run_batch(batch)
                self._is_busy = False
            elif self._is_closed:
                if self._window is not None and self._window.start_s is not None:
                    await self._finish_window(is_early=True)
                return
            else:
                await self._wait_for_news()

    async def _wait_for_news(self) -> None:
        due_s = self._batcher.due_s
        timeout_s = None if due_s is None else max(0.001, due_s - self._work.clock())
        await self._work.stopping.wait_for(self._news, timeout_s=timeout_s)

    async def _run_batch(self, batch: Records) -> None:
        work = self._work
        run = BatchRun(batch, work.policy)
        if self._window is not None:
            self._window.open_for(batch[0])
        while not work.stopping.is_set:
            match run.next(work.clock()):
                case None:
                    return
                case Wait(until_s):
                    await work.stopping.pause(max(0.001, until_s - work.clock()))
                case GiveUp() as step:
                    await self._give_up(step)
                    run.given_up(step)
                    await self._left(step.records)
                case Invoke(records):
                    await self._invoke(run, records)

    async def _invoke(self, run: BatchRun, records: Records) -> None:
        work = self._work
        self._figures.sent(self, records, work.clock())
        call = await work.caller.call(self._event(records), records)
        self._request_id = call.request_id
        match call.outcome:
            case Refused(reason):
                work.results.problem(reason)
                self._figures.counts.failed += len(records)
                run.refused(work.clock(), work.draw())
            case Failed(result):
                self._failed(run, records, result)
            case Succeeded(result):
                await self._answered(run, records, result)
            case _ as never:
                assert_never(never)

    async def _answered(self, run: BatchRun, records: Records, result: InvokeResult) -> None:
        """The function has not failed; it may still report records that it could not do."""
        state = window_state(result.payload) if self._window is not None else None
        failed: frozenset[str] | None = frozenset()
        if self._work.mapping.reports_batch_item_failures:
            failed = failed_ids(result.payload, {record.id for record in records}, self._id_of)
        if failed is None or (self._window is not None and state is None):
            self._failed(run, records, result)
            return
        if failed:
            first = next(at for at, record in enumerate(records) if record.id in failed)
            left = self._failed(run, records, result, done=first)
        else:
            self._work.results.ok()
            left = run.succeeded()
        if left:
            self._figures.counts.processed += len(left)
            self._keep(state)
            await self._left(left)
            if state is not None and is_state_too_large(state):
                await self._finish_window(is_early=True)

    def _failed(self, run: BatchRun, records: Records, result: InvokeResult, *, done: int = 0) -> Records:
        self._work.results.problem("Function call failed")
        self._figures.counts.failed += len(records) - done
        return run.failed(result, self._work.clock(), self._work.draw(), done=done)

    def _keep(self, state: msgspec.Raw | None) -> None:
        if self._window is not None and state is not None:
            self._window.keep(state)
            self._batcher.around_bytes = _AROUND_BYTES + len(bytes(state))

    async def _left(self, records: Records) -> None:
        self._after = records[-1].id
        await self._done(records)

    async def _give_up(self, step: GiveUp) -> None:
        """Tell the destination, durably; a mapping without one has said that nobody wants to know."""
        work = self._work
        extra = {
            "mapping": work.mapping.arn,
            "shard": self._shard,
            "records": len(step.records),
            "condition": step.condition.value,
        }
        log.warning("event_source_mapping.records_given_up", extra=extra)
        self._figures.counts.dropped += len(step.records)
        if work.mapping.on_failure is None:
            return
        batch = FailedBatch(
            mapping=work.mapping,
            shard=self._shard,
            step=step,
            request_id=self._request_id or RequestId(str(uuid.uuid4())),
            payload=self._event(step.records),
            at_s=work.clock(),
            object_id=str(uuid.uuid4()),
        )
        head, body = outcome(batch, work.mapping.on_failure)
        item = Item(head.lane, msgspec.json.encode(head), body)
        while True:
            try:
                await work.outcomes.put(item)
            except WriteFailed as error:
                log.error("event_source_mapping.outcome_not_kept", extra=extra | {"reason": str(error)})
                await asyncio.sleep(_WRITE_WAIT_S)
            else:
                return

    def _event(self, records: Records, *, is_final: bool = False, is_early: bool = False) -> bytes:
        if self._window is None or self._window.start_s is None:
            return self._envelope.wrap(records)
        arn = self._work.mapping.source_arn or ""
        return self._envelope.wrap(
            records, self._window.members(self._shard, arn, is_final=is_final, is_early=is_early)
        )

    def _is_window_over(self) -> bool:
        return self._window is not None and self._window.is_over(self._batcher.first, self._read_until_s)

    def _is_window_read(self) -> bool:
        """What waits is all that its window will bring."""
        first = self._batcher.first
        return self._window is not None and first is not None and self._window.is_read(first, self._read_until_s)

    async def _finish_window(self, *, is_early: bool) -> None:
        """The function's last invocation for the window, with its state and no records."""
        assert self._window is not None
        work, attempts, refusals = self._work, 0, 0
        event = self._event((), is_final=True, is_early=is_early)
        maximum = work.policy.maximum_retry_attempts
        while not work.stopping.is_set:
            match (await work.caller.call(event)).outcome:
                case Succeeded():
                    break
                case Failed():
                    attempts += 1
                    work.results.problem("Function call failed")
                    if maximum is not None and attempts > maximum:
                        log.warning("event_source_mapping.window_given_up", extra={"mapping": work.mapping.arn})
                        break
                    wait_s = FUNCTION.wait_s(attempts, work.draw())
                case Refused(reason):
                    refusals += 1
                    work.results.problem(reason)
                    wait_s = THROTTLED.wait_s(refusals, work.draw())
            await work.stopping.pause(wait_s)
        else:
            return
        self._window.close()
        self._batcher.around_bytes = _AROUND_BYTES
        await self._done(())
