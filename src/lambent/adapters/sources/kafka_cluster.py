"""A Kafka cluster as one mapping gets at it: where it is, how it is spoken to, and what goes wrong, in words."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any  # aiokafka has no types

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)

from lambent.adapters.sources.broker_access import BrokerAccess
from lambent.ports.sources import SourceUnavailable

log = logging.getLogger(__name__)

_REQUEST_TIMEOUT_S = 10.0
_AUTHENTICATION = (AuthenticationFailedError, SaslAuthenticationFailed, UnsupportedSaslMechanismError)
_AUTHORIZATION = (GroupAuthorizationFailedError, TopicAuthorizationFailedError)
_MESSAGE_BYTES = 8 << 20
"""Of what is told of a batch that is given up: an event is part of it."""


@dataclass(frozen=True, slots=True)
class KafkaCluster:
    """`servers` are the bootstrap servers, `HOST:PORT` each; entering `consumer` or `producer` connects."""

    servers: Sequence[str]
    access: BrokerAccess

    async def topics(self) -> Mapping[str, Sequence[int]]:
        """Each topic's partitions. (To ask for one topic could create it.)"""
        admin = AIOKafkaAdminClient(**await self._arguments())
        async with _started(admin, self._names()):
            told = await admin.describe_topics()
        return {one["topic"]: sorted(part["partition"] for part in one["partitions"]) for one in told}

    @asynccontextmanager
    async def consumer(self, group: str, **options: Any) -> AsyncIterator[Any]:
        """A member of the group, subscribed to nothing yet."""
        consumer = AIOKafkaConsumer(
            **await self._arguments(), group_id=group, enable_auto_commit=False, auto_offset_reset="earliest", **options
        )
        async with _started(consumer, self._names()):
            yield consumer

    async def send(self, topic: str, value: bytes) -> None:
        """Return once all in-sync replicas have it; raises SourceUnavailable."""
        producer = AIOKafkaProducer(**await self._arguments(), acks="all", max_request_size=_MESSAGE_BYTES)
        async with _started(producer, self._names()):
            await producer.send_and_wait(topic, value)

    async def _arguments(self) -> dict[str, Any]:
        """For clients of a cluster that answers, in the one way that it does."""
        access = self.access
        has_tls = access.requires_tls or await self._speaks_tls()
        if access.mechanism == "PLAIN" and not has_tls:
            await self._require_private()
        transport = "SSL" if has_tls else "PLAINTEXT"
        login = {}
        if access.mechanism is not None:
            login = {
                "sasl_mechanism": access.mechanism,
                "sasl_plain_username": access.username,
                "sasl_plain_password": access.password,
            }
        spoken = {
            "security_protocol": f"SASL_{transport}" if access.mechanism else transport,
            "ssl_context": access.tls if has_tls else None,
            **login,
        }
        await self._try(spoken)
        return {
            "bootstrap_servers": list(self.servers),
            "client_id": "lambent",
            "request_timeout_ms": int(_REQUEST_TIMEOUT_S * 1000),
            **spoken,
        }

    async def _speaks_tls(self) -> bool:
        """As the first server that answers does. Whom it is, is not asked here."""
        anyone = ssl.create_default_context()
        anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
        problem: Exception | None = None
        for host, port, _ in collect_hosts(self.servers):
            try:
                async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                    _, writer = await asyncio.open_connection(host, port, ssl=anyone)
            except (ssl.SSLError, ConnectionResetError, BrokenPipeError):
                return False
            except (OSError, TimeoutError) as error:
                problem = error
            else:
                writer.close()
                return True
        raise SourceUnavailable(f"{self._names()} cannot be reached: {_told(problem)}")

    async def _require_private(self) -> None:
        """A password in the clear is not for the open internet."""
        loop = asyncio.get_running_loop()
        for host, port, _ in collect_hosts(self.servers):
            for *_, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
                if not ipaddress.ip_address(address[0]).is_private:
                    raise SourceUnavailable(
                        f"{host}:{port} has no TLS and is not on a private network: BASIC_AUTH would send it the "
                        "password in the clear"
                    )

    async def _try(self, spoken: dict[str, Any]) -> None:
        """Raises what a client would only log and sum up."""
        problem: Exception | None = None
        for host, port, _ in collect_hosts(self.servers):
            try:
                connection = await create_conn(
                    host, port, client_id="lambent", request_timeout_ms=_REQUEST_TIMEOUT_S * 1000, **spoken
                )
            except KafkaConnectionError as error:
                # Who does not like a client's certificate, or misses it, says so by hanging up once TLS stands.
                problem = ssl.SSLError(str(error)) if spoken["ssl_context"] else error
            except (KafkaError, OSError, TimeoutError) as error:
                problem = error
            else:
                connection.close()
                return
        raise problem_with(self._names(), problem)

    def _names(self) -> str:
        return ",".join(self.servers)


@asynccontextmanager
async def _started(client: Any, what: str) -> AsyncIterator[None]:
    try:
        await client.start()
        yield
    except KafkaError as error:
        raise problem_with(what, error) from error
    finally:
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                await (client.close() if isinstance(client, AIOKafkaAdminClient) else client.stop())
        except TimeoutError:
            log.warning("kafka.not_closed", extra={"reason": f"{what} did not answer"})


def problem_with(what: str, error: Exception | None) -> SourceUnavailable:
    """In the words that AWS has for it, where it has some.

    https://docs.aws.amazon.com/lambda/latest/dg/with-kafka-troubleshoot.html
    """
    match error:
        case ssl.SSLCertVerificationError():
            return SourceUnavailable(f"Lambda failed to authenticate server: {_told(error)}")
        case ssl.SSLError():
            return SourceUnavailable(f"Server failed to authenticate Lambda: {_told(error)}")
        case _ if isinstance(error, _AUTHENTICATION):
            return SourceUnavailable(f"SASL authentication failed: {_told(error)}")
        case _ if isinstance(error, _AUTHORIZATION):
            return SourceUnavailable(f"Cluster failed to authorize Lambda: {_told(error)}")
    return SourceUnavailable(f"{what} cannot be reached: {_told(error)}")


def _told(error: Exception | None) -> str:
    return str(error) or type(error).__name__
