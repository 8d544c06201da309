"""Outcomes on their way: sent until the target has them, parked where only a person can help, never dropped."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace

import msgspec

from lambent.invoke.delivery import EventCounts
from lambent.invoke.dispatch import Again, Done, Pressure, Verdict
from lambent.invoke.retry import refusal_wait_s
from lambent.model.arn import parse_function_name
from lambent.model.errors import ApiError
from lambent.model.event import OutcomeHead, Recipient
from lambent.model.invocation import InvokeRequest, RequestId
from lambent.ports.event_queue import Queued
from lambent.ports.targets import Targets, Undelivered

log = logging.getLogger(__name__)

_heads = msgspec.json.Decoder(OutcomeHead)
_encode = msgspec.json.Encoder().encode


class OutcomeSender:
    """`accept` takes what is for a function: it is invoked asynchronously. All else goes to `targets`."""

    def __init__(
        self,
        targets: Targets,
        accept: Callable[[InvokeRequest], Awaitable[object]],
        counts: EventCounts,
        *,
        new_request_id: Callable[[], str],
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._targets = targets
        self._accept = accept
        self._counts = counts
        self._new_request_id = new_request_id
        self._draw = draw

    async def send(self, item: Queued) -> Verdict:
        head = _heads.decode(item.head)
        try:
            await self._send(head, item.body)
        except Undelivered as error:
            return self._failed(head, error)
        if head.recipient is Recipient.DEAD_LETTER:
            self._counts.dead_lettered += 1
        else:
            self._counts.destinations_reached += 1
        return Done()

    async def _send(self, head: OutcomeHead, body: bytes) -> None:
        if ":lambda:" not in head.message.target:
            await self._targets.send(head.message, body)
            return
        region, account = head.message.target.split(":")[3:5]
        request = InvokeRequest(
            request_id=RequestId(self._new_request_id()),
            function=parse_function_name(head.message.target, region=region, account=account),
            payload=body,
            trace_id=head.message.trace_id,
        )
        try:
            await self._accept(request)
        except ApiError as error:  # a function may come, or become active
            raise Undelivered(str(error), is_final=False) from error

    def _failed(self, head: OutcomeHead, error: Undelivered) -> Verdict:
        if head.recipient is Recipient.DEAD_LETTER:
            self._counts.dead_letter_errors += 1
        else:
            self._counts.destination_failures += 1
        head = replace(head, attempts=head.attempts + 1, error_message=str(error))
        log.warning(
            "events.outcome_parked" if error.is_final else "events.outcome_delayed",
            extra={"request_id": head.request_id, "target": head.message.target, "reason": str(error)},
        )
        after_s = None if error.is_final else refusal_wait_s(head.attempts, self._draw())
        return Again(_encode(head), after_s, Pressure.LANE)
