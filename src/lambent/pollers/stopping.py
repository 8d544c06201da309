"""A poller that is told to stop ends what runs, begins nothing, and waits for nothing any longer."""

from __future__ import annotations

import asyncio
from weakref import WeakSet


class Stopping:
    """Set once. Whoever waits by its methods is woken by it."""

    def __init__(self) -> None:
        self.is_set = False
        self._events: set[asyncio.Event] = set()
        self._parts: WeakSet[Stopping] = WeakSet()

    def part(self) -> Stopping:
        """For a part of the work that may also be told to stop alone."""
        part = Stopping()
        part.is_set = self.is_set
        self._parts.add(part)
        return part

    def set(self) -> None:
        self.is_set = True
        for event in self._events:
            event.set()
        for part in self._parts:
            part.set()

    async def pause(self, seconds: float) -> None:
        """Sleep, but not into the stop."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        await self.wait_for(asyncio.Event(), timeout_s=seconds)

    async def wait_for(self, event: asyncio.Event, *, timeout_s: float | None = None) -> None:
        """Return when `event` is set, the time is over, or all is to stop, which sets the event as well."""
        if self.is_set:
            return
        self._events.add(event)
        try:
            async with asyncio.timeout(timeout_s):
                await event.wait()
        except TimeoutError:
            pass
        finally:
            self._events.discard(event)
