"""Asynchronous invocation as one part: accepting, delivering, telling of outcomes, and what there is to see of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from lambent.invoke.delivery import Delivery, EventCounts
from lambent.invoke.dispatch import Dispatcher, Kind
from lambent.invoke.invoker import Invoker
from lambent.invoke.outcome_sender import OutcomeSender
from lambent.invoke.terms import TermsReader
from lambent.invoke.waiting import WaitingEvents
from lambent.model.event import INVOKE_LANE, OUTCOME_LANE
from lambent.model.invocation import InvokeRequest
from lambent.ports.event_queue import EventQueue
from lambent.ports.store import Store
from lambent.ports.targets import Targets

_SENDERS_PER_TARGET = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class EventStatistics:
    """What waits now; `counts` are since the start of the server."""

    waiting_events: int
    waiting_outcomes: int
    running: int
    oldest_event_age_s: float
    """AsyncEventAge of the event that has waited longest; 0 if none waits."""
    oldest_outcome_age_s: float
    counts: EventCounts


class Events:
    """Entering takes up what waits in the queue; it is to be left after those who call it and before those it calls.

    At most `concurrency` events are under delivery at once.
    """

    def __init__(
        self,
        queue: EventQueue,
        store: Store,
        invoker: Invoker,
        targets: Targets,
        *,
        concurrency: int,
        new_request_id: Callable[[], str],
        is_host_busy: Callable[[], bool],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._queue = queue
        self._store = store
        self._clock = clock
        self._counts = EventCounts()
        self.terms = TermsReader(store)
        self.waiting = WaitingEvents(queue)
        self._delivery = Delivery(queue, invoker, self.terms, self._counts, clock=clock)
        sender = OutcomeSender(targets, self.accept, self._counts, new_request_id=new_request_id)
        self._dispatcher = Dispatcher(
            queue,
            {
                INVOKE_LANE: Kind(self._delivery.deliver, concurrency),
                OUTCOME_LANE: Kind(sender.send, _SENDERS_PER_TARGET),
            },
            concurrency=concurrency,
            is_host_busy=is_host_busy,
            clock=clock,
        )

    async def __aenter__(self) -> Self:
        self._unwatch = self._store.watch("function/", self.terms.forget)
        await self._dispatcher.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._dispatcher.__aexit__(kind, error, traceback)
        self._unwatch()

    async def accept(self, request: InvokeRequest) -> str:
        """See `Delivery.accept`."""
        return await self._delivery.accept(request)

    async def drain(self, timeout_s: float) -> None:
        """Deliver nothing more and let run what runs; events go on being accepted."""
        await self._dispatcher.drain(timeout_s)

    async def statistics(self) -> EventStatistics:
        lanes = self._queue.lanes()
        return EventStatistics(
            waiting_events=sum(lane.items for lane in lanes if lane.name.startswith(INVOKE_LANE)),
            waiting_outcomes=sum(lane.items for lane in lanes if lane.name.startswith(OUTCOME_LANE)),
            running=self._dispatcher.running,
            oldest_event_age_s=await self._age_s(INVOKE_LANE),
            oldest_outcome_age_s=await self._age_s(OUTCOME_LANE),
            counts=self._counts,
        )

    async def _age_s(self, lane: str) -> float:
        oldest_ms = await self._queue.oldest_ms([lane])
        return 0.0 if oldest_ms is None else max(0.0, self._clock() - oldest_ms / 1000)
