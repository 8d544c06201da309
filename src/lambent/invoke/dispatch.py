"""The engine behind all that waits: takes due items lane by lane, runs their handlers, and settles what they decided.

Fair in two ways. Each lane has a window of its own, so a lane that is throttled holds up nobody; and no lane may use
more than its share, one part of all being kept free for lanes that come.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from types import TracebackType
from typing import Self

from lambent.invoke.window import Window
from lambent.ports.event_queue import EventQueue, Item, Queued
from lambent.ports.store import WriteFailed

log = logging.getLogger(__name__)

_FULL_WAIT_S = 0.1
"""How often a full lane looks whether it may grow."""
_FAULT_WAIT_S = 60.0
_WRITE_WAIT_S = 1.0


class Pressure(Enum):
    """What a refusal says about how much runs."""

    LANE = auto()
    HOST = auto()
    """There was no room for anybody: the widest lane gives way."""


@dataclass(frozen=True, slots=True)
class Done:
    successors: Sequence[Item] = ()


@dataclass(frozen=True, slots=True)
class Again:
    """`after_s` None parks the item until somebody hastens it."""

    head: bytes
    after_s: float | None
    pressure: Pressure | None = None


Verdict = Done | Again
Handler = Callable[[Queued], Awaitable[Verdict]]


@dataclass(frozen=True, slots=True)
class Kind:
    """How the lanes are handled whose name starts alike, and how many of one may run at once."""

    handler: Handler
    width: int


@dataclass(slots=True)
class _Lane:
    name: str
    kind: Kind
    window: Window
    running: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)
    """Something may be due, or nothing runs any more."""
    freed: asyncio.Event = field(default_factory=asyncio.Event)
    """One that ran has ended."""
    pump: asyncio.Task[None] | None = None
    timer: asyncio.TimerHandle | None = None


class Dispatcher:
    """An async context manager: entering takes up whatever waits, leaving lets it wait on.

    `kinds` are told by the beginning of a lane's name; `concurrency` is how many handlers may run at once.
    """

    def __init__(
        self,
        queue: EventQueue,
        kinds: Mapping[str, Kind],
        *,
        concurrency: int,
        is_host_busy: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._queue = queue
        self._kinds = kinds
        self._concurrency = concurrency
        self._is_host_busy = is_host_busy
        self._clock = clock
        self._lanes: dict[str, _Lane] = {}
        self._active = 0
        self._running: set[asyncio.Task[None]] = set()
        self._group = asyncio.TaskGroup()
        self._is_stopping = False

    @property
    def running(self) -> int:
        return sum(lane.running for lane in self._lanes.values())

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._loop = asyncio.get_running_loop()
        self._queue.watch(self._changed)
        for lane in self._queue.lanes():
            self._changed(lane.name)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.drain(0)
        await self._group.__aexit__(kind, error, traceback)

    async def drain(self, timeout_s: float) -> None:
        """Take nothing more and let run what runs; what has not ended by then is taken up by the next start."""
        self._is_stopping = True
        for lane in self._lanes.values():
            if lane.timer is not None:
                lane.timer.cancel()
            if lane.pump is not None:
                lane.pump.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=timeout_s)
        for task in self._running:
            task.cancel()

    def _changed(self, name: str) -> None:
        """Something of the lane may be due."""
        if self._is_stopping:
            return
        lane = self._lanes.get(name)
        if lane is None:
            kind = next(kind for prefix, kind in self._kinds.items() if name.startswith(prefix))
            lane = self._lanes[name] = _Lane(name, kind, Window(kind.width))
        if lane.pump is not None:
            lane.news.set()
            return
        if lane.timer is not None:
            lane.timer.cancel()
            lane.timer = None
        self._active += 1
        lane.pump = self._group.create_task(self._pump(lane), name=f"pump {name}")

    async def _pump(self, lane: _Lane) -> None:
        """Start what is due until nothing is; then leave, with a timer for what falls due later."""
        next_due_ms: int | None = None
        try:
            next_due_ms = await self._start_due(lane)
        except Exception:  # the outermost loop of a lane
            log.exception("events.lane_failed", extra={"lane": lane.name})
            next_due_ms = int((self._clock() + _FAULT_WAIT_S) * 1000)
        finally:
            lane.pump = None
            self._active -= 1
        if next_due_ms is not None:
            lane.timer = self._loop.call_later(self._until_s(next_due_ms), self._changed, lane.name)
        else:
            del self._lanes[lane.name]

    async def _start_due(self, lane: _Lane) -> int | None:
        while True:
            lane.news.clear()
            lane.freed.clear()
            share = max(1, self._concurrency // (self._active + 1))
            room = lane.window.room(self._loop.time(), lane.running, share)
            if room <= 0:
                await self._wait_for_room(lane)
                continue
            batch = await self._queue.take(lane.name, room)
            for item in batch.items:
                self._start(lane, item)
            if not batch.items and not lane.news.is_set():
                if not lane.running:
                    return batch.next_due_ms
                await self._wait(lane, batch.next_due_ms)

    async def _wait_for_room(self, lane: _Lane) -> None:
        try:
            async with asyncio.timeout(_FULL_WAIT_S):
                await lane.freed.wait()
        except TimeoutError:
            pass
        if lane.running >= lane.window.size:
            lane.window.widen(self._loop.time(), is_host_busy=self._is_host_busy())

    async def _wait(self, lane: _Lane, due_ms: int | None) -> None:
        try:
            async with asyncio.timeout(None if due_ms is None else self._until_s(due_ms)):
                await lane.news.wait()
        except TimeoutError:
            pass

    def _until_s(self, due_ms: int) -> float:
        """Never nothing: the queue counts in milliseconds, and the rest of one must not be waited for in a spin."""
        return max(0.001, due_ms / 1000 - self._clock())

    def _start(self, lane: _Lane, item: Queued) -> None:
        lane.running += 1
        task = self._group.create_task(self._run(lane, item))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self, lane: _Lane, item: Queued) -> None:
        try:
            verdict = await lane.kind.handler(item)
        except Exception:  # the outermost loop of an item
            log.exception("events.handler_failed", extra={"lane": lane.name, "item": item.id})
            verdict = Again(item.head, _FAULT_WAIT_S)
        finally:
            lane.running -= 1
            lane.freed.set()
            if not lane.running:
                lane.news.set()
        self._learn(lane, verdict)
        await self._settle(item, verdict)

    def _learn(self, lane: _Lane, verdict: Verdict) -> None:
        now_s = self._loop.time()
        match verdict:
            case Again(pressure=Pressure.LANE):
                lane.window.narrow(now_s, lane.running)
            case Again(pressure=Pressure.HOST):
                widest = max(self._lanes.values(), key=lambda one: one.running)
                if widest is not lane:
                    widest.window.give_way(now_s)
                lane.window.narrow(now_s, lane.running)
            case _:
                lane.window.succeed()

    async def _settle(self, item: Queued, verdict: Verdict) -> None:
        """Write down what was decided; as long as the disk refuses, the item is neither lost nor handed out again."""
        while True:
            try:
                match verdict:
                    case Done(successors):
                        await self._queue.ack(item.id, successors=successors)
                    case Again(head, after_s):
                        await self._queue.retry(item.id, head, after_s=after_s)
            except WriteFailed as error:
                log.error("events.not_settled", extra={"item": item.id, "reason": str(error)})
                await asyncio.sleep(_WRITE_WAIT_S)
            else:
                return
