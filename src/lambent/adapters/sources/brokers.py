"""Brokers as event sources: Kafka and RabbitMQ, and where they are, which their ARNs alone do not tell."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from lambent.adapters.http.secrets import Secrets
from lambent.adapters.sources.broker_access import broker_access
from lambent.model.event_source_mapping import EventSourceMapping
from lambent.model.function import FunctionVersion
from lambent.ports.sources import SourceUnavailable

if TYPE_CHECKING:
    # Clients of brokers take a tenth of a second to import: only servers that read from one do.
    from lambent.adapters.sources.kafka import KafkaStream
    from lambent.adapters.sources.kafka_cluster import KafkaCluster
    from lambent.adapters.sources.rabbitmq import RabbitQueue


class Brokers:
    """Implements `lambent.ports.sources.Sources` for MSK, self-managed Kafka and Amazon MQ.

    `addresses` are by ARN: `HOST:PORT,HOST:PORT` of a cluster's servers, `amqp://HOST:PORT` of a broker.
    """

    def __init__(self, addresses: Mapping[str, str], secrets: Secrets) -> None:
        self._addresses = addresses
        self._secrets = secrets

    @asynccontextmanager
    async def queue(self, mapping: EventSourceMapping, version: FunctionVersion) -> AsyncIterator[RabbitQueue]:
        from lambent.adapters.sources.rabbitmq import RabbitQueue

        address = self._address(mapping, "amqp://HOST:PORT")
        if not address.startswith(("amqp://", "amqps://")):
            raise SourceUnavailable(
                f"Lambent reads Amazon MQ brokers of RabbitMQ only: {address} is no amqp:// or amqps:// address; "
                "ActiveMQ is not supported"
            )
        async with RabbitQueue(mapping, address, await broker_access(mapping, self._secrets)) as queue:
            yield queue

    @asynccontextmanager
    async def stream(self, mapping: EventSourceMapping, version: FunctionVersion) -> AsyncIterator[KafkaStream]:
        from lambent.adapters.sources.kafka import kafka_stream

        async with kafka_stream(await self.cluster(mapping), mapping, timeout_s=version.timeout_s) as stream:
            yield stream

    async def forget(self, mapping: EventSourceMapping) -> None:
        """A consumer group stays with its cluster, which forgets it by its own rules; as on AWS."""

    async def cluster(self, mapping: EventSourceMapping) -> KafkaCluster:
        """Where the mapping reads from; raises SourceUnavailable."""
        from lambent.adapters.sources.kafka_cluster import KafkaCluster

        servers = mapping.bootstrap_servers or tuple(self._address(mapping, "HOST:PORT").split(","))
        return KafkaCluster(servers, await broker_access(mapping, self._secrets))

    def _address(self, mapping: EventSourceMapping, form: str) -> str:
        arn = mapping.source_arn or ""
        if arn not in self._addresses:
            raise SourceUnavailable(f"Lambent does not know where {arn} is: start it with --broker {arn}={form}")
        return self._addresses[arn]
