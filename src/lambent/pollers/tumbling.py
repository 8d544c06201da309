"""Tumbling windows of one lane of a shard: which window a record belongs to, and what its state has come to. Pure.

https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-windows.html
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from lambent.model.source_record import NO_STATE, LaneCheckpoint, SourceRecord


class TumblingWindow:
    """The window of `length_s` seconds that is open, if any, and its state; windows begin at multiples of the epoch."""

    def __init__(self, length_s: int, checkpoint: LaneCheckpoint) -> None:
        self._length_s = length_s
        self.start_s = checkpoint.window_start_s
        self.state = checkpoint.state

    @property
    def end_s(self) -> int | None:
        return None if self.start_s is None else self.start_s + self._length_s

    def start_of(self, record: SourceRecord) -> int:
        """When the window begins that the record belongs to."""
        return int((record.arrived_s or 0.0) // self._length_s) * self._length_s

    def is_over(self, first: SourceRecord | None, read_until_s: float) -> bool:
        """Nothing of the open window is left: the next record is of another one, or all up to its end was read."""
        if self.start_s is None:
            return False
        if first is not None:
            return self.start_of(first) > self.start_s
        return read_until_s >= self.start_s + self._length_s

    def is_read(self, first: SourceRecord, read_until_s: float) -> bool:
        """All records of the window that `first` belongs to were read."""
        return read_until_s >= self.start_of(first) + self._length_s

    def open_for(self, record: SourceRecord) -> None:
        """A record that comes too late for its own window is part of the open one."""
        if self.start_s is None:
            self.start_s = self.start_of(record)

    def keep(self, state: msgspec.Raw) -> None:
        self.state = msgspec.Raw(bytes(state))

    def close(self) -> None:
        self.start_s, self.state = None, NO_STATE

    def members(self, shard: str, source_arn: str, *, is_final: bool, is_early: bool) -> dict[str, object]:
        """What an event of the open window says beside its records."""
        return {
            "window": {"start": _time(self.start_s or 0), "end": _time(self.end_s or 0)},
            "state": self.state,
            "shardId": shard,
            "eventSourceARN": source_arn,
            "isFinalInvokeForWindow": is_final,
            "isWindowTerminatedEarly": is_early,
        }


def _time(epoch_s: int) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
