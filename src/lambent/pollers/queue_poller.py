"""A queue at work: several pollers, each of which receives, filters, batches, invokes and deletes what has succeeded.

Messages are deleted once the function has done with them, or no filter wants them. All others come again by the
queue's own rules, so that its redrive policy counts them.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lambent.model.event_filter import compile_filter
from lambent.model.event_source_mapping import EventSourceMapping
from lambent.model.invocation import InvokeResult
from lambent.model.source_record import SourceRecord
from lambent.pollers.backoff import SOURCE, THROTTLED
from lambent.pollers.batching import Batcher, window_s
from lambent.pollers.calls import Caller, Failed, Refused, Succeeded
from lambent.pollers.responses import failed_ids
from lambent.pollers.results import Results
from lambent.pollers.scaling import Scaling, scaling_limits
from lambent.pollers.stopping import Stopping
from lambent.ports.sources import QueueSource, SourceUnavailable

log = logging.getLogger(__name__)

LONG_POLL_S = 20.0
_HOLD_MARGIN_S = 30.0
_RELEASE_S = 5.0

Records = Sequence[SourceRecord]


@dataclass(slots=True)
class _Poller:
    """One of the pollers: the messages that it has gathered, and until when (loop's clock) they are its own."""

    batcher: Batcher
    until_s: float = 0.0
    failures: int = 0


class QueuePoller:
    """`run` ends some time after `stop`: when what is being invoked has ended."""

    def __init__(
        self,
        mapping: EventSourceMapping,
        source: QueueSource,
        caller: Caller,
        results: Results,
        stopping: Stopping,
        *,
        timeout_s: int,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._mapping = mapping
        self._source = source
        self._caller = caller
        self._results = results
        self._counts = results.figures.counts
        self._timeout_s = timeout_s
        self._draw = draw
        self._passes = compile_filter(mapping.filters, mapping.kind.filter_source)
        self._window_s = window_s(mapping)
        self._hold_s = self._window_s + timeout_s + _HOLD_MARGIN_S if self._window_s else 0.0
        self._scaling = Scaling(scaling_limits(mapping))
        self._stopping = stopping
        self._running = 0
        self._gathering: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        self._now = asyncio.get_running_loop().time
        async with asyncio.TaskGroup() as self._group:
            self._grow()

    def stop(self) -> None:
        self._stopping.set()
        for task in self._gathering:
            task.cancel()

    def _grow(self) -> None:
        while self._running < self._scaling.size and not self._stopping.is_set:
            self._running += 1
            self._group.create_task(self._poll(), name=f"poll {self._mapping.arn}")

    async def _poll(self) -> None:
        poller = _Poller(Batcher(size=self._mapping.batch_size, window_s=self._window_s))
        try:
            while not self._stopping.is_set and self._running <= self._scaling.size:
                batch = await self._gather(poller)
                if batch:
                    await self._work(batch, poller.until_s)
        finally:
            self._running -= 1
            if left := poller.batcher.clear():
                await self._release(left)

    async def _gather(self, poller: _Poller) -> Records:
        """The next batch; none if the queue is empty or does not answer."""
        task = asyncio.current_task()
        assert task is not None
        self._gathering.add(task)
        try:
            batch = await self._fill(poller)
        except SourceUnavailable as error:
            self._results.problem(str(error))
            self._scaling.failed()
            poller.failures += 1
            await self._stopping.pause(SOURCE.wait_s(poller.failures, self._draw()))
            return ()
        finally:
            self._gathering.discard(task)
        poller.failures = 0
        if batch:
            self._scaling.found(self._now())
            self._grow()
        return batch

    async def _fill(self, poller: _Poller) -> Records:
        batcher = poller.batcher
        while not batcher.is_due(self._now()):
            left_s = LONG_POLL_S if batcher.due_s is None else batcher.due_s - self._now()
            if not len(batcher):
                poller.until_s = float("inf")
            limit = min(self._source.receive_limit, batcher.missing)
            received = await self._source.receive(limit, wait_s=min(LONG_POLL_S, left_s), hold_s=self._hold_s)
            poller.until_s = min(poller.until_s, received.until_s)
            await self._sort(received.records, batcher)
            if not received.records and not len(batcher):
                self._scaling.found_nothing()
                return ()
        return batcher.take(self._now())

    async def _sort(self, records: Records, batcher: Batcher) -> None:
        """Into those for the function and those that no filter wants, which are deleted."""
        self._counts.polled += len(records)
        unwanted = []
        for record in records:
            if self._passes(record.document):
                batcher.add(record, self._now())
            else:
                unwanted.append(record)
        if unwanted:
            self._counts.filtered_out += len(unwanted)
            await self._source.delete(unwanted)
            self._counts.deleted += len(unwanted)

    async def _work(self, batch: Records, until_s: float) -> None:
        """Invoke; a batch that is refused is tried again as long as its messages are ours."""
        payload = self._source.envelope.wrap(batch)
        refusals = 0
        while True:
            self._counts.invoked += len(batch)
            call = await self._caller.call(payload, batch)
            match call.outcome:
                case Succeeded(result):
                    return await self._settle(batch, result, until_s)
                case Failed(result):
                    return await self._failed(batch)
                case Refused(reason):
                    self._results.problem(reason)
                    self._counts.failed += len(batch)
                    self._scaling.failed()
                    refusals += 1
            wait_s = THROTTLED.wait_s(refusals, self._draw())
            if self._stopping.is_set:
                return await self._release(batch)
            if self._now() + wait_s + self._timeout_s > until_s:
                return await self._give_back(batch)
            await self._stopping.pause(wait_s)

    async def _settle(self, batch: Records, result: InvokeResult, until_s: float) -> None:
        failed: frozenset[str] | None = frozenset()
        if self._mapping.reports_batch_item_failures:
            failed = failed_ids(result.payload, {record.id for record in batch})
        if failed is None:
            return await self._failed(batch)
        self._results.ok()
        self._counts.processed += len(batch) - len(failed)
        self._counts.failed += len(failed)
        await self._delete([record for record in batch if record.id not in failed], until_s)
        if failed:
            await self._give_back([record for record in batch if record.id in failed])
        return None

    async def _failed(self, batch: Records) -> None:
        self._results.problem("Function call failed")
        self._counts.failed += len(batch)
        if not self._mapping.reports_batch_item_failures:
            self._scaling.failed()
        await self._give_back(batch)

    async def _delete(self, records: Records, until_s: float) -> None:
        """Try as long as the messages are ours; whatever is not deleted by then comes again."""
        failures = 0
        while records:
            try:
                await self._source.delete(records)
            except SourceUnavailable as error:
                failures += 1
                wait_s = SOURCE.wait_s(failures, self._draw())
                self._results.problem(str(error))
                if self._now() + wait_s > until_s:
                    log.error("event_source_mapping.not_deleted", extra=self._about(records, error))
                    return
                await asyncio.sleep(wait_s)
            else:
                self._counts.deleted += len(records)
                return

    async def _give_back(self, records: Records) -> None:
        try:
            await self._source.fail(records)
        except SourceUnavailable as error:
            log.warning("event_source_mapping.not_given_back", extra=self._about(records, error))

    async def _release(self, records: Records) -> None:
        try:
            async with asyncio.timeout(_RELEASE_S):
                await self._source.release(records)
        except (SourceUnavailable, TimeoutError) as error:
            log.warning("event_source_mapping.not_given_back", extra=self._about(records, error))

    def _about(self, records: Records, error: Exception) -> dict[str, object]:
        return {"mapping": self._mapping.arn, "messages": len(records), "reason": str(error)}
