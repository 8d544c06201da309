"""Where outcomes go: queues, topics, buses and buckets of other services, reached over their own APIs."""

from __future__ import annotations

from typing import Protocol

from lambent.model.event import Message


class Undelivered(Exception):
    """The target did not take the message; `is_final`: nor will it, unless a person changes something."""

    def __init__(self, message: str, *, is_final: bool) -> None:
        super().__init__(message)
        self.is_final = is_final


class Targets(Protocol):
    async def send(self, message: Message, body: bytes) -> None:
        """Return once the target has taken the message.

        Raises:
            Undelivered: it has not, or it is not known whether it has.
        """
        ...
