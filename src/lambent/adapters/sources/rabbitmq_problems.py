"""Why a queue cannot be read, in words; a broker that is no RabbitMQ is told by what it says of itself."""

from __future__ import annotations

import asyncio

from aiormq.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelAccessRefused,
    ChannelNotFoundEntity,
    InvalidFrameError,
    ProbableAuthenticationError,
)
from yarl import URL

from lambent.ports.sources import SourceUnavailable

_AMQP_0_9_1 = b"AMQP\x00\x00\x09\x01"
_PROBE_S = 5.0
_AUTHENTICATION, _AUTHORIZATION = "EVENT_SOURCE_AUTHN_ERROR", "EVENT_SOURCE_AUTHZ_ERROR"
"""AWS's codes: https://docs.aws.amazon.com/lambda/latest/dg/services-mq-errors.html"""


async def problem_with(address: str, queue: str, error: Exception) -> SourceUnavailable:
    match error:
        case ChannelNotFoundEntity():
            return SourceUnavailable(f"There is no queue {queue} at {address}")
        case AuthenticationError() | ProbableAuthenticationError():
            return SourceUnavailable(
                f"{_AUTHENTICATION}: {address} does not accept the user name and password of the BASIC_AUTH secret"
            )
        case ChannelAccessRefused():
            return SourceUnavailable(f"{_AUTHORIZATION}: {address} refuses access: {error}")
        case InvalidFrameError() if "Connection.OpenOk" in str(error):
            return SourceUnavailable(
                f"{_AUTHORIZATION}: {address} refuses access: the virtual host is not there, or not for this user"
            )
        case AMQPError() if await _is_other_broker(address):
            return SourceUnavailable(
                f"Lambent reads Amazon MQ brokers of RabbitMQ only (AMQP 0-9-1): {address} is another broker, such as "
                "ActiveMQ, which is not supported"
            )
    return SourceUnavailable(f"{address} cannot be reached: {error or type(error).__name__}")


async def _is_other_broker(address: str) -> bool:
    """Whether it answers to RabbitMQ's protocol with another one: ActiveMQ names itself, or offers AMQP 1.0."""
    url = URL(address)
    try:
        async with asyncio.timeout(_PROBE_S):
            reader, writer = await asyncio.open_connection(url.host, url.port, ssl=url.scheme == "amqps" or None)
            writer.write(_AMQP_0_9_1)
            said = await reader.read(256)
            writer.close()
    except (OSError, TimeoutError):
        return False
    return b"ActiveMQ" in said or (said.startswith(b"AMQP") and said[:8] != _AMQP_0_9_1)
