"""The border of the control plane: members of AWS's names come in, a typed request goes on to who carries it out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol  # Any: parameters are of whatever type the service model gives them

from lambent.control import requests
from lambent.control.answers import Answer
from lambent.control.requests import Request
from lambent.model.caller import CallerContext

Operation = Callable[[CallerContext, dict[str, Any]], Awaitable[Answer]]


class Family(Protocol):
    """Operations on one kind of thing, by AWS's names."""

    @property
    def operations(self) -> Mapping[str, Operation]: ...


def parsing(kind: type[Request], handler: Callable[[CallerContext, Request], Awaitable[Answer]]) -> Operation:
    async def operation(caller: CallerContext, members: dict[str, Any]) -> Answer:
        return await handler(caller, requests.parse(kind, members))

    return operation
