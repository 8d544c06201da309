"""Whether what a mapping names is there to be read, asked of the source itself when the mapping is made."""

from __future__ import annotations

from typing import Protocol

from lambent.model.event_source_mapping import EventSourceMapping


class EventSources(Protocol):
    async def require_readable(self, mapping: EventSourceMapping, *, function_timeout_s: int) -> str | None:
        """Return if the source exists and suits the function, perhaps with advice; also where there is nobody to ask.

        Raises:
            InvalidParameterValue: it does not, in AWS's words.
        """
        ...
