"""Asynchronous invocation: an event is accepted once it is on disk, and delivered by the same invoker as every invoke.

What comes of each attempt is decided in `retry`, what is told of it in `outcomes`; here both are carried out.
"""

from __future__ import annotations

import logging
import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec

from lambent.invoke import recursion
from lambent.invoke.dispatch import Again, Done, Pressure, Verdict
from lambent.invoke.invoker import Invoker
from lambent.invoke.outcomes import Ending, error_message, outcomes
from lambent.invoke.retry import GiveUp, RetryPolicy, Wait, after_function_error, after_refusal, is_expired
from lambent.invoke.terms import Terms, TermsReader
from lambent.model.errors import ApiError, PlatformError, ResourceNotFound, TooManyRequests
from lambent.model.event import Condition, EventHead
from lambent.model.invocation import InvokeRequest, InvokeResult
from lambent.ports.event_queue import EventQueue, Item, Queued

log = logging.getLogger(__name__)

_heads = msgspec.json.Decoder(EventHead)
_encode = msgspec.json.Encoder().encode

_FUNCTION_ERROR_CODE = 200
"""A failed function is no failed request."""


@dataclass(slots=True)
class EventCounts:
    """Since the start of the server, by AWS's metrics where they have a name."""

    received: int = 0
    """AsyncEventsReceived"""
    succeeded: int = 0
    failed_attempts: int = 0
    refused_attempts: int = 0
    dropped: int = 0
    """AsyncEventsDropped: done with, without success; their outcomes may have been kept."""
    loops_dropped: int = 0
    """RecursiveInvocationsDropped"""
    dead_lettered: int = 0
    destinations_reached: int = 0
    dead_letter_errors: int = 0
    """DeadLetterErrors"""
    destination_failures: int = 0
    """DestinationDeliveryFailures"""


class Delivery:
    def __init__(
        self,
        queue: EventQueue,
        invoker: Invoker,
        terms: TermsReader,
        counts: EventCounts,
        *,
        clock: Callable[[], float] = time.time,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._queue = queue
        self._invoker = invoker
        self._terms = terms
        self._counts = counts
        self._clock = clock
        self._draw = draw

    async def accept(self, request: InvokeRequest) -> str:
        """Return, once the event is on disk, the trace header that it goes under.

        Raises:
            ResourceNotFound, ResourceConflict: the function cannot be invoked.
            WriteFailed: the disk is full or failing.
        """
        target = await self._invoker.resolve(request.function)
        head = EventHead(
            request_id=request.request_id,
            function=request.function,
            trace_id=self._invoker.trace_header(request, target),
            accepted_s=self._clock(),
        )
        await self._queue.put(Item(head.lane, _encode(head), request.payload))
        self._counts.received += 1
        return head.trace_id

    async def deliver(self, item: Queued) -> Verdict:
        """One attempt, and what follows from it."""
        head = _heads.decode(item.head)
        try:
            terms = await self._terms.of(head.function)
            refused = self._refuses(head, terms)
            if refused is not None:
                return self._end(refused[0], item, terms, refused[1])
            result = await self._invoker.invoke(_request(head, item.body))
        except ResourceNotFound as error:
            return self._drop(head, str(error))
        except (ApiError, PlatformError) as error:
            return self._refused(head, item, terms.policy, terms, error)
        if result.function_error is not None:
            return self._failed(head, item, terms, result)
        self._counts.succeeded += 1
        return self._end(replace(head, attempts=head.attempts + 1), item, terms, Condition.SUCCESS, result)

    def _refuses(self, head: EventHead, terms: Terms) -> tuple[EventHead, Condition] | None:
        """Why the function is not to run at all."""
        loops = recursion.extend(head.trace_id, head.function)[1]
        if loops >= recursion.INVOCATIONS_MAXIMUM and not terms.may_loop:
            self._counts.loops_dropped += 1
            refusal = recursion.refusal(head.function)
            return _with_error(head, refusal.status, str(refusal)), Condition.RECURSIVE_INVOCATION
        if terms.is_switched_off:
            return _with_error(head, 429, "Rate Exceeded."), Condition.ZERO_RESERVED_CONCURRENCY
        if is_expired(terms.policy, self._clock() - head.accepted_s):
            return _with_error(head, head.error_code or 429, head.error_message or ""), Condition.EVENT_AGE_EXCEEDED
        return None

    def _failed(self, head: EventHead, item: Queued, terms: Terms, result: InvokeResult) -> Verdict:
        self._counts.failed_attempts += 1
        head = replace(head, attempts=head.attempts + 1, refusals=0)
        head = _with_error(head, _FUNCTION_ERROR_CODE, error_message(result))
        age_s = self._clock() - head.accepted_s
        match after_function_error(terms.policy, attempts=head.attempts, age_s=age_s):
            case Wait(after_s):
                return Again(_encode(head), after_s)
            case GiveUp(condition):
                return self._end(head, item, terms, condition, result)

    def _refused(
        self, head: EventHead, item: Queued, policy: RetryPolicy, terms: Terms, error: ApiError | PlatformError
    ) -> Verdict:
        self._counts.refused_attempts += 1
        status = error.status if isinstance(error, ApiError) else 500
        head = _with_error(replace(head, refusals=head.refusals + 1), status, str(error))
        age_s = self._clock() - head.accepted_s
        match after_refusal(policy, refusals=head.refusals, age_s=age_s, draw=self._draw()):
            case Wait(after_s):
                return Again(_encode(head), after_s, _pressure(error))
            case GiveUp(condition):
                return self._end(head, item, terms, condition)

    def _end(
        self, head: EventHead, item: Queued, terms: Terms, condition: Condition, result: InvokeResult | None = None
    ) -> Done:
        """Done with it: what follows are the messages to those who want to hear of it."""
        if condition is Condition.SUCCESS and terms.on_success is None:
            return Done()
        ending = Ending(
            head=head,
            payload=item.body,
            condition=condition,
            result=result,
            at_s=self._clock(),
            object_id=str(uuid.uuid4()),
        )
        told = [Item(outcome.lane, _encode(outcome), body) for outcome, body in outcomes(ending, terms)]
        if condition is not Condition.SUCCESS:
            self._counts.dropped += 1
            if not told:
                log.warning(
                    "events.dropped",
                    extra={
                        "request_id": head.request_id,
                        "function": str(head.function),
                        "condition": condition.value,
                        "reason": head.error_message,
                    },
                )
        return Done(told)

    def _drop(self, head: EventHead, reason: str) -> Done:
        """There is no function any more, and so nobody who could have said whom to tell."""
        self._counts.dropped += 1
        log.warning(
            "events.dropped", extra={"request_id": head.request_id, "function": str(head.function), "reason": reason}
        )
        return Done()


def _request(head: EventHead, payload: bytes) -> InvokeRequest:
    return InvokeRequest(
        request_id=head.request_id, function=head.function, payload=payload, trace_id=head.trace_id, is_event=True
    )


def _with_error(head: EventHead, code: int, message: str) -> EventHead:
    return replace(head, error_code=code, error_message=message)


def _pressure(error: ApiError | PlatformError) -> Pressure:
    """A reservation that is used up is the function's own matter; the account's concurrency and memory are not."""
    if isinstance(error, TooManyRequests) and error.fields.get("Reason") == "ConcurrentInvocationLimitExceeded":
        return Pressure.HOST
    return Pressure.LANE
