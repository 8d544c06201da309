"""Queues of RabbitMQ: messages as functions get them, acknowledged once they are done with, requeued when they failed.

A message that nobody has acknowledged comes again when its connection ends, so nothing is lost with us.
https://docs.aws.amazon.com/lambda/latest/dg/process-mq-messages-with-lambda.html
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Self

import aiormq
from aiormq.abc import AbstractChannel, AbstractConnection, DeliveredMessage
from aiormq.exceptions import AMQPError
from pamqp.commands import Basic
from yarl import URL

from lambent.adapters.sources import rabbitmq_records
from lambent.adapters.sources.broker_access import BrokerAccess
from lambent.adapters.sources.rabbitmq_problems import problem_with
from lambent.model.event_source_mapping import EventSourceMapping
from lambent.model.source_record import SourceRecord
from lambent.ports.sources import Received, SourceUnavailable

_CONNECT_S = 10.0
_HEARTBEAT_S = 30
_HOLD_S = 1_500.0
"""RabbitMQ itself takes back what nobody has acknowledged for half an hour."""
_PREFETCH_MAXIMUM = 65_535
_FAILURE_WAIT_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""After so many failures in a row: RabbitMQ gives a requeued message back at once."""
_CLOSED = (AMQPError, OSError, TimeoutError, asyncio.InvalidStateError, RuntimeError)
"""What aiormq raises where the connection has ended meanwhile."""


class RabbitQueue:
    """Implements `lambent.ports.sources.QueueSource` for one queue; it connects again by itself.

    `address` is `amqp://HOST:PORT` or `amqps://HOST:PORT`.
    """

    def __init__(self, mapping: EventSourceMapping, address: str, access: BrokerAccess) -> None:
        self._name = mapping.queues[0]
        self._address = address
        self._access = access
        self.receive_limit = mapping.batch_size
        self.envelope = rabbitmq_records.envelope(mapping, self._name, access.virtual_host)
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None
        self._generation = 0
        self._messages: deque[DeliveredMessage] = deque()
        self._news = asyncio.Event()
        self._failures = 0
        self._not_before_s = 0.0

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._close()

    # ------------------------------------------------------------------------------------------ QueueSource

    async def receive(self, limit: int, *, wait_s: float, hold_s: float) -> Received:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._not_before_s - loop.time()))
        if self._is_closed:
            await self._open()
        try:
            async with asyncio.timeout(wait_s):
                while not self._messages and not self._is_closed:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            pass
        if self._is_closed:
            raise SourceUnavailable(f"The connection to {self._address} has ended")
        taken = [self._record(self._messages.popleft()) for _ in range(min(limit, len(self._messages)))]
        return Received(taken, until_s=loop.time() + _HOLD_S)

    async def delete(self, records: Sequence[SourceRecord]) -> None:
        self._failures, self._not_before_s = 0, 0.0
        await self._answer(records, lambda channel, tag, is_last: channel.basic_ack(tag, wait=is_last))

    async def release(self, records: Sequence[SourceRecord]) -> None:
        await self._answer(records, lambda channel, tag, is_last: channel.basic_nack(tag, wait=is_last))

    async def fail(self, records: Sequence[SourceRecord]) -> None:
        wait_s = _FAILURE_WAIT_S[min(self._failures, len(_FAILURE_WAIT_S) - 1)]
        self._failures += 1
        self._not_before_s = asyncio.get_running_loop().time() + wait_s
        await self.release(records)

    # ------------------------------------------------------------------------------------------ the connection

    @property
    def _is_closed(self) -> bool:
        return self._channel is None or self._channel.is_closed

    async def _open(self) -> None:
        await self._close()
        self._generation += 1
        self._messages.clear()
        try:
            async with asyncio.timeout(_CONNECT_S):
                self._connection = await aiormq.connect(self._url(), context=self._access.tls)
                self._channel = await self._connection.channel(publisher_confirms=False)
                self._channel.closing.add_done_callback(lambda _: self._news.set())
                await self._channel.queue_declare(self._name, passive=True)
                await self._channel.basic_qos(prefetch_count=min(self.receive_limit, _PREFETCH_MAXIMUM))
                await self._channel.basic_consume(self._name, self._delivered)
        except _CLOSED as error:
            await self._close()
            raise await problem_with(self._address, self._name, error) from error

    def _url(self) -> URL:
        access = self._access
        url = URL(self._address).with_user(access.username).with_password(access.password)
        virtual_host = "/%2F" if access.virtual_host == "/" else f"/{access.virtual_host}"
        url = url.with_path(virtual_host, encoded=access.virtual_host == "/")
        return url.with_query(heartbeat=_HEARTBEAT_S, name="lambent")

    async def _close(self) -> None:
        """Whatever is not acknowledged goes back to its queue."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None and not connection.is_closed:
            try:
                async with asyncio.timeout(_CONNECT_S):
                    await connection.close()
            except _CLOSED:
                pass

    async def _delivered(self, message: DeliveredMessage) -> None:
        self._messages.append(message)
        self._news.set()

    def _record(self, message: DeliveredMessage) -> SourceRecord:
        assert isinstance(message.delivery, Basic.Deliver)
        return rabbitmq_records.record(
            f"{self._generation}:{message.delivery.delivery_tag}",
            message.header.properties,
            message.body,
            is_redelivered=message.delivery.redelivered,
        )

    async def _answer(
        self, records: Sequence[SourceRecord], answer: Callable[[AbstractChannel, int, bool], Awaitable[None]]
    ) -> None:
        """Return when all are sent. Those of a connection that has ended are back in their queue already."""
        try:
            for record in records:
                generation, _, tag = record.receipt.partition(":")
                if self._channel is not None and int(generation) == self._generation:
                    await answer(self._channel, int(tag), record is records[-1])
        except _CLOSED as error:
            raise SourceUnavailable(f"The connection to {self._address} has ended: {error}") from error
