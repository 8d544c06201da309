"""What a mapping has come to since the start of the server, by AWS's metrics where they have a name.

https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lambent.model.event_source_mapping import MappingState
from lambent.model.source_record import SourceRecord


@dataclass(slots=True)
class MappingCounts:
    """Of records and messages; what is tried again is invoked, and perhaps fails, again."""

    polled: int = 0
    """PolledEventCount"""
    filtered_out: int = 0
    """FilteredOutEventCount"""
    invoked: int = 0
    """InvokedEventCount"""
    failed: int = 0
    """FailedInvokeEventCount: the function failed, reported them, or could not be run."""
    processed: int = 0
    deleted: int = 0
    """DeletedEventCount, of a queue"""
    dropped: int = 0
    """DroppedEventCount: given up; a destination may have been told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingStatistics:
    uuid: str
    function: str
    source: str
    """An ARN, or the addresses of a cluster."""
    state: MappingState
    iterator_age_s: float | None
    """IteratorAge, of the lane of a shard that is furthest behind; 0 where all is done, None for queues."""
    last_problem: str | None
    """Whatever kept it from working last; it may have gone on since."""
    last_problem_ms: int | None
    """Epoch."""
    counts: MappingCounts


class Figures:
    """Those of one mapping, kept while its pollers come and go."""

    def __init__(self) -> None:
        self.counts = MappingCounts()
        self.last_problem: str | None = None
        self.last_problem_ms: int | None = None
        self._ages_s: dict[object, float] = {}

    @property
    def iterator_age_s(self) -> float:
        return max(self._ages_s.values(), default=0.0)

    def problem(self, reason: str, now_s: float) -> None:
        self.last_problem, self.last_problem_ms = reason, int(now_s * 1000)

    def sent(self, lane: object, records: Sequence[SourceRecord], now_s: float) -> None:
        """To the function; the age of a batch is that of its last record."""
        self.counts.invoked += len(records)
        if (arrived_s := records[-1].arrived_s) is not None:
            self._ages_s[lane] = max(0.0, now_s - arrived_s)

    def caught_up(self, lane: object) -> None:
        """All that there is was done, or it is another's now."""
        self._ages_s.pop(lane, None)
