"""Topics of Kafka as on-failure destinations, in the cluster that a mapping reads from."""

from __future__ import annotations

from lambent.adapters.sources.brokers import Brokers
from lambent.model.event import Message
from lambent.model.records import decode_mapping
from lambent.ports.sources import SourceUnavailable
from lambent.ports.store import Store
from lambent.ports.targets import Targets, Undelivered

SCHEME = "kafka://"


class KafkaTargets:
    """Implements `lambent.ports.targets.Targets`: topics itself, all others by `others`."""

    def __init__(self, store: Store, brokers: Brokers, others: Targets) -> None:
        self._store = store
        self._brokers = brokers
        self._others = others

    async def send(self, message: Message, body: bytes) -> None:
        if not message.target.startswith(SCHEME):
            return await self._others.send(message, body)
        entry = await self._store.get(message.cluster_of or "")
        if entry is None:
            raise Undelivered(f"The event source mapping that {message.target} belongs to is deleted", is_final=True)
        try:
            cluster = await self._brokers.cluster(decode_mapping(entry.value))
            await cluster.send(message.target.removeprefix(SCHEME), body)
        except SourceUnavailable as error:
            raise Undelivered(str(error), is_final=False) from error
