"""Times and revision ids, from the clock and the source of ids that the server was given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamps:
    """`now` gives epoch seconds; `new_id` gives UUIDs."""

    now: Callable[[], float]
    new_id: Callable[[], str]

    def last_modified(self) -> str:
        """The present as AWS writes it in `LastModified`: `2024-01-01T00:00:00.000+0000`."""
        return datetime.fromtimestamp(self.now(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "+0000")

    def whole_second(self) -> str:
        """The present as AWS writes it of provisioned concurrency: `2024-01-01T00:00:00+0000`."""
        return datetime.fromtimestamp(self.now(), UTC).isoformat(timespec="seconds").replace("+00:00", "+0000")


def age_s(last_modified: str, now: float) -> float:
    return now - datetime.strptime(last_modified, "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
