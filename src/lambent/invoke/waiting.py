"""What waits, for a person to see and to steer: events to be delivered, and outcomes to be sent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from lambent.model.arn import FunctionArn
from lambent.model.event import INVOKE_LANE, OUTCOME_LANE, EventHead, OutcomeHead
from lambent.ports.event_queue import START, EventQueue, ItemId, Queued

_PAGE = 1_000

_events = msgspec.json.Decoder(EventHead)
_outcomes = msgspec.json.Decoder(OutcomeHead)


class WaitingState(StrEnum):
    RUNNING = "Running"
    WAITING = "Waiting"
    PARKED = "Parked"
    """It waits for a person: nothing that Lambent does will get it delivered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One event (`recipient` None) or one outcome of an event. Times are epoch milliseconds."""

    id: ItemId
    state: WaitingState
    function: str
    request_id: str
    since_ms: int
    next_attempt_ms: int | None
    attempts: int
    """Of the function, or at the target."""
    reason: str | None
    """Why the last attempt failed."""
    recipient: str | None = None
    condition: str | None = None
    target: str | None = None


def lanes_of(function: FunctionArn) -> Sequence[str]:
    """The beginnings of the names of an (unqualified) function's lanes."""
    return f"{INVOKE_LANE}{function.unqualified}/", f"{OUTCOME_LANE}{function.unqualified}/"


def lanes_of_account(region: str, account: str) -> Sequence[str]:
    arn = str(FunctionArn(region, account, ""))
    return f"{INVOKE_LANE}{arn}", f"{OUTCOME_LANE}{arn}"


class WaitingEvents:
    """`lanes` is whose items are meant: nothing else is shown or touched."""

    def __init__(self, queue: EventQueue) -> None:
        self._queue = queue

    async def list(self, lanes: Sequence[str], *, after: ItemId = START, limit: int = 100) -> Sequence[Waiting]:
        return [_waiting(one) for one in await self._queue.browse(lanes, after=after, limit=limit)]

    async def show(self, lanes: Sequence[str], item: ItemId) -> tuple[Waiting, bytes] | None:
        """With its body: the event's payload, or what is sent to the target."""
        found = await self._find(lanes, item)
        return (_waiting(found), found.body) if found is not None else None

    async def retry(self, lanes: Sequence[str], item: ItemId) -> bool:
        """Attempt it now. False if nothing of that id waits."""
        return await self._find(lanes, item) is not None and await self._queue.hasten(item)

    async def drop(self, lanes: Sequence[str], item: ItemId) -> bool:
        return await self._find(lanes, item) is not None and await self._queue.drop(item)

    async def redrive(self, lanes: Sequence[str]) -> int:
        """Attempt all that is parked, and say how much that is."""
        redriven, after = 0, START
        while page := await self._queue.browse(lanes, after=after, limit=_PAGE):
            hastened = await asyncio.gather(*(self._queue.hasten(one.id) for one in page if one.due_ms is None))
            redriven, after = redriven + sum(hastened), page[-1].id
        return redriven

    async def _find(self, lanes: Sequence[str], item: ItemId) -> Queued | None:
        found = await self._queue.get(item)
        return found if found is not None and found.lane.startswith(tuple(lanes)) else None


def _waiting(item: Queued) -> Waiting:
    if item.lane.startswith(INVOKE_LANE):
        event = _events.decode(item.head)
        return Waiting(
            id=item.id,
            state=_state(item),
            function=str(event.function),
            request_id=event.request_id,
            since_ms=item.put_ms,
            next_attempt_ms=None if item.is_taken else item.due_ms,
            attempts=event.attempts,
            reason=event.error_message,
        )
    outcome = _outcomes.decode(item.head)
    return Waiting(
        id=item.id,
        state=_state(item),
        function=str(outcome.function),
        request_id=outcome.request_id,
        since_ms=item.put_ms,
        next_attempt_ms=None if item.is_taken else item.due_ms,
        attempts=outcome.attempts,
        reason=outcome.error_message,
        recipient=outcome.recipient,
        condition=outcome.condition,
        target=outcome.message.target,
    )


def _state(item: Queued) -> WaitingState:
    if item.is_taken:
        return WaitingState.RUNNING
    return WaitingState.PARKED if item.due_ms is None else WaitingState.WAITING
