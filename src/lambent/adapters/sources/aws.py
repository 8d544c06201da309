"""One queue or stream of AWS's, at the operator's endpoint; its errors told as those of a source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from lambent.adapters.http.aws_services import AwsServices, JsonProtocol, Refused, Unreachable
from lambent.ports.sources import CursorExpired, SourceUnavailable

Answer = TypeVar("Answer", bound=msgspec.Struct)

_EXPIRED = frozenset(("ExpiredIteratorException",))


class SourceRefused(SourceUnavailable):
    """The source answered with an error; `code` is its own."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class AwsSource:
    def __init__(self, services: AwsServices, arn: str, protocol: JsonProtocol) -> None:
        self._services = services
        self._protocol = protocol
        self.arn = arn
        service = arn.split(":")[2]
        self.region = arn.split(":")[3]
        endpoint = services.endpoint(service)
        if endpoint is None:
            raise SourceUnavailable(f"Lambent has no endpoint for {service}: start it with --endpoint {service}=URL")
        self.endpoint = endpoint.rstrip("/")

    async def ask(self, action: str, members: Mapping[str, object], kind: type[Answer]) -> Answer:
        """The answer to an action; raises as a source does."""
        try:
            return await self._services.ask(self.arn, self._protocol, action, members, kind)
        except Unreachable as error:
            raise SourceUnavailable(str(error)) from error
        except Refused as error:
            message = f"{action} of {self.arn} was refused: {error.code}: {error.message}"
            if error.code in _EXPIRED:
                raise CursorExpired(message) from error
            raise SourceRefused(error.code, message) from error
