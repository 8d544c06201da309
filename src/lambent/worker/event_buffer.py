"""What waits for one subscriber: bounded, and whatever does not fit is counted. Pure."""

from __future__ import annotations

from collections import deque

from lambent.worker.subscription import Buffering

_BATCHES_HELD = 4
"""So many of the largest batches may wait; a subscriber that is slower loses records."""


class EventBuffer:
    """Records as JSON, in order."""

    def __init__(self, buffering: Buffering) -> None:
        self._buffering = buffering
        self._records: deque[bytes] = deque()
        self._bytes = 0
        self._lost_records = self._lost_bytes = 0

    def __len__(self) -> int:
        return len(self._records)

    @property
    def is_full(self) -> bool:
        return self._bytes >= _BATCHES_HELD * self._buffering.max_bytes

    @property
    def has_a_batch(self) -> bool:
        """Enough to be sent without waiting for more."""
        return self._bytes >= self._buffering.max_bytes or len(self._records) >= self._buffering.max_items

    @property
    def has_lost(self) -> bool:
        return self._lost_records > 0

    def add(self, record: bytes) -> None:
        """Keep one record, full or not: the caller knows."""
        self._records.append(record)
        self._bytes += len(record)

    def lose(self, records: int, size: int) -> None:
        self._lost_records += records
        self._lost_bytes += size

    def take_losses(self) -> tuple[int, int]:
        """Records and bytes lost since the last time."""
        losses = self._lost_records, self._lost_bytes
        self._lost_records = self._lost_bytes = 0
        return losses

    def drain(self) -> list[bytes]:
        """Everything: none of it will be sent."""
        records, self._records, self._bytes = list(self._records), deque(), 0
        return records

    def take_batch(self) -> list[bytes]:
        """The records that are to be sent next: not more than the subscriber wants at once, but one at least."""
        batch: list[bytes] = []
        size = 0
        while self._records and len(batch) < self._buffering.max_items:
            size += len(self._records[0])
            if batch and size > self._buffering.max_bytes:
                break
            batch.append(self._records.popleft())
        self._bytes -= sum(map(len, batch))
        return batch
