"""The life of one mapping: polled while it is enabled, changed and stopped as control says, settled once it is so."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from lambent.model.arn import FunctionArn
from lambent.model.errors import ApiError
from lambent.model.event_source_mapping import EventSourceMapping, MappingState, SourceKind, settled
from lambent.model.function import FunctionVersion
from lambent.model.invocation import Target
from lambent.model.records import decode_mapping, encode
from lambent.pollers.backoff import SOURCE
from lambent.pollers.batch_run import run_policy
from lambent.pollers.calls import Caller, InvokeFunction
from lambent.pollers.figures import Figures, MappingStatistics
from lambent.pollers.queue_poller import QueuePoller
from lambent.pollers.results import Results
from lambent.pollers.shard_lane import Work
from lambent.pollers.stopping import Stopping
from lambent.pollers.stream_poller import StreamPoller
from lambent.ports.event_queue import EventQueue
from lambent.ports.ownership import Ownership, OwnershipLost
from lambent.ports.sources import Sources, SourceUnavailable
from lambent.ports.store import Revision, RevisionMismatch, Store

log = logging.getLogger(__name__)

QUEUES = frozenset((SourceKind.SQS, SourceKind.SQS_FIFO, SourceKind.MQ))

_START_S = 5.0
"""How long a change waits for its poller to have begun."""
_FAULT_WAIT_S = 30.0
_FORMER_REASON = "Lambent does not poll event sources yet"
"""What an earlier Lambent said of every mapping that was enabled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What pollers of all mappings work with."""

    store: Store
    sources: Sources
    ownership: Ownership
    outcomes: EventQueue
    """Takes what is told of batches that are given up, and sends it."""
    invoke: InvokeFunction
    resolve: Callable[[FunctionArn], Awaitable[Target]]
    new_request_id: Callable[[], str]
    clock: Callable[[], float] = time.time


@dataclass(slots=True)
class _Polling:
    """A poller at work, and for which settings."""

    mapping: EventSourceMapping
    version: FunctionVersion
    results: Results
    stopping: Stopping = field(default_factory=Stopping)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    poller: QueuePoller | StreamPoller | None = None
    task: asyncio.Task[None] | None = None

    def stop(self) -> None:
        self.stopping.set()
        if self.poller is not None:
            self.poller.stop()


class MappingKeeper:
    """`run` ends when the mapping is deleted; `changed` says that it, or its function, is not what it was."""

    def __init__(self, key: str, around: Surroundings) -> None:
        self._key = key
        self._around = around
        self._news = asyncio.Event()
        self._polling: _Polling | None = None
        self._is_draining = False
        self._figures = Figures()
        self.mapping: EventSourceMapping | None = None

    def changed(self) -> None:
        self._news.set()

    def statistics(self) -> MappingStatistics | None:
        """None until the mapping was read."""
        mapping, figures = self.mapping, self._figures
        if mapping is None:
            return None
        return MappingStatistics(
            uuid=mapping.uuid,
            function=str(mapping.function),
            source=mapping.source_arn or ",".join(mapping.bootstrap_servers),
            state=mapping.state,
            iterator_age_s=None if mapping.kind in QUEUES else figures.iterator_age_s,
            last_problem=figures.last_problem,
            last_problem_ms=figures.last_problem_ms,
            counts=replace(figures.counts),
        )

    async def run(self) -> None:
        while True:
            try:
                async with self._around.ownership.hold(self._key), asyncio.TaskGroup() as self._group:
                    await self._follow()
            except OwnershipLost:
                log.warning("event_source_mapping.not_owned", extra={"mapping": self._key})
            except Exception:  # the mapping's outermost loop
                log.exception("event_source_mapping.not_followed", extra={"mapping": self._key})
                await asyncio.sleep(_FAULT_WAIT_S)
            else:
                return

    async def drain(self) -> None:
        """Begin nothing more, and return when what runs has ended."""
        self._is_draining = True
        await self._stop()

    async def _follow(self) -> None:
        while True:
            self._news.clear()
            entry = await self._around.store.get(self._key)
            if entry is None:
                return await self._stop()
            mapping = decode_mapping(entry.value)
            self.mapping = mapping
            await self._adapt(mapping)
            if not mapping.is_settled or mapping.state_transition_reason.startswith(_FORMER_REASON):
                await self._settle(mapping, entry.revision)
            await self._news.wait()

    async def _adapt(self, mapping: EventSourceMapping) -> None:
        """Poll as the mapping says from now on."""
        is_wanted = mapping.is_enabled and mapping.state is not MappingState.DELETING and not self._is_draining
        version = await self._version(mapping) if is_wanted else None
        if self._polling is not None and version is not None and _is_same(self._polling, mapping, version):
            return
        await self._stop()
        if version is None or self._is_draining:
            return
        results = self._results(mapping)
        polling = self._polling = _Polling(mapping=mapping, version=version, results=results)
        polling.task = self._group.create_task(self._poll(polling), name=f"poll {mapping.arn}")
        try:
            async with asyncio.timeout(_START_S):
                await polling.started.wait()
        except TimeoutError:
            pass

    async def _version(self, mapping: EventSourceMapping) -> FunctionVersion | None:
        """What is to be invoked, if that is there; when it comes, `changed` is called."""
        try:
            return (await self._around.resolve(mapping.function)).version
        except ApiError as error:
            results = self._results(mapping)
            results.problem(str(error))
            await results.write()
            return None

    def _results(self, mapping: EventSourceMapping) -> Results:
        return Results(self._around.store, mapping, self._figures, self._around.clock)

    async def _settle(self, mapping: EventSourceMapping, revision: Revision) -> None:
        store = self._around.store
        try:
            after = settled(mapping, _reason(mapping))
            if after is None:
                await self._around.sources.forget(mapping)
                await store.delete(mapping.result_key)
                await store.delete(mapping.key, expected=revision)
            else:
                await store.put(mapping.key, encode(after), expected=revision)
        except RevisionMismatch:
            self._news.set()

    async def _stop(self) -> None:
        polling, self._polling = self._polling, None
        if polling is not None and polling.task is not None:
            polling.stop()
            await asyncio.wait((polling.task,))

    async def _poll(self, polling: _Polling) -> None:
        """Until it is told to stop, whatever happens."""
        keeping = asyncio.create_task(polling.results.keep())
        now, failures = asyncio.get_running_loop().time, 0
        try:
            while not polling.stopping.is_set:
                began_s = now()
                try:
                    await self._open_and_poll(polling)
                except SourceUnavailable as error:
                    polling.results.problem(str(error))
                except Exception:  # the task's outermost loop
                    log.exception("event_source_mapping.poller_failed", extra={"mapping": polling.mapping.arn})
                    polling.results.problem("internal error; see the server's log")
                polling.started.set()
                failures = 1 if now() - began_s > SOURCE.maximum_s else failures + 1
                await polling.stopping.pause(SOURCE.wait_s(failures, 0.0))
        finally:
            keeping.cancel()
            await polling.results.write()

    async def _open_and_poll(self, polling: _Polling) -> None:
        around, mapping, version = self._around, polling.mapping, polling.version
        caller = Caller(around.invoke, mapping.function, around.new_request_id)
        if mapping.kind in QUEUES:
            async with around.sources.queue(mapping, version) as queue:
                polling.poller = QueuePoller(
                    mapping, queue, caller, polling.results, polling.stopping, timeout_s=version.timeout_s
                )
                polling.started.set()
                await polling.poller.run()
            return
        async with around.sources.stream(mapping, version) as stream:
            work = Work(
                mapping=mapping,
                policy=run_policy(mapping, stream.retention_s),
                caller=caller,
                results=polling.results,
                outcomes=around.outcomes,
                stopping=polling.stopping,
                clock=around.clock,
            )
            polling.poller = StreamPoller(stream, work, polling.started)
            await polling.poller.run()


def _is_same(polling: _Polling, mapping: EventSourceMapping, version: FunctionVersion) -> bool:
    """Nothing has changed that the poller would have to know."""
    former, now = polling.version, version
    if (former.role, former.timeout_s) != (now.role, now.timeout_s):
        return False
    return (
        replace(
            polling.mapping,
            state=mapping.state,
            state_transition_reason=mapping.state_transition_reason,
            last_modified_s=mapping.last_modified_s,
            tags=mapping.tags,
        )
        == mapping
    )


def _reason(mapping: EventSourceMapping) -> str | None:
    """None keeps the mapping's own."""
    if not mapping.state_transition_reason.startswith(_FORMER_REASON):
        return None
    is_stream = mapping.kind in (SourceKind.KINESIS, SourceKind.DYNAMODB)
    return "User action" if is_stream else "USER_INITIATED"
