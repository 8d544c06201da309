"""When records are a batch: there are enough, their event is full, or the first has waited for its window. Pure.

https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventsourcemapping.html#invocation-eventsourcemapping-batching
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

from lambent.model.event_source_mapping import EventSourceMapping
from lambent.model.limits import INVOKE_REQUEST_BYTES
from lambent.model.source_record import SourceRecord

DEFAULT_WINDOW_S = 0.5
"""Of Kafka and MQ; it is AWS's and cannot be asked for."""
_AROUND_BYTES = 4_096
"""Room for what stands around the records in an event."""


def window_s(mapping: EventSourceMapping) -> float:
    return DEFAULT_WINDOW_S if mapping.batching_window_s is None else float(mapping.batching_window_s)


def is_too_large(record: SourceRecord, around_bytes: int = _AROUND_BYTES) -> bool:
    """No event can hold it."""
    return len(record.body) + around_bytes > INVOKE_REQUEST_BYTES


class Batcher:
    """Records in the order they came. A batch holds records of one `group` only; times are of any one clock.

    `around_bytes` is room for what stands around the records in the event, and may change.
    """

    def __init__(self, *, size: int, window_s: float, group: Callable[[SourceRecord], object] | None = None) -> None:
        self._size = size
        self._window_s = window_s
        self._group = group
        self._records: deque[tuple[SourceRecord, float]] = deque()
        self.around_bytes = _AROUND_BYTES
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._records)

    @property
    def due_s(self) -> float | None:
        """When the window of the first record has passed; None if there is none."""
        return self._records[0][1] + self._window_s if self._records else None

    @property
    def missing(self) -> int:
        """How many records a whole batch would still take."""
        return max(0, self._size - len(self._records))

    @property
    def first(self) -> SourceRecord | None:
        return self._records[0][0] if self._records else None

    def add(self, record: SourceRecord, now_s: float) -> None:
        self._records.append((record, now_s))
        self.bytes += len(record.body) + 1

    def is_due(self, now_s: float) -> bool:
        if not self._records:
            return False
        if not self.missing or self.bytes + self.around_bytes >= INVOKE_REQUEST_BYTES or now_s >= (self.due_s or 0):
            return True
        return self._group is not None and self._group(self._records[0][0]) != self._group(self._records[-1][0])

    def take(self, now_s: float, *, is_final: bool = False) -> Sequence[SourceRecord]:
        """The batch that is due, perhaps none; `is_final`: nothing more will come, so all that waits is due."""
        if not self._records or not (is_final or self.is_due(now_s)):
            return ()
        batch = [self._records.popleft()[0] for _ in range(self._fitting())]
        self.bytes -= sum(len(record.body) + 1 for record in batch)
        return batch

    def clear(self) -> Sequence[SourceRecord]:
        """All that waits, which will be no batch."""
        records = [record for record, _ in self._records]
        self._records.clear()
        self.bytes = 0
        return records

    def _fitting(self) -> int:
        """How many from the first on one event holds; one at least."""
        left = INVOKE_REQUEST_BYTES - self.around_bytes
        group = self._group(self._records[0][0]) if self._group else None
        for count, (record, _) in enumerate(islice(self._records, self._size)):
            left -= len(record.body) + 1
            if count and (left < 0 or (self._group and self._group(record) != group)):
                return count
        return min(self._size, len(self._records))
