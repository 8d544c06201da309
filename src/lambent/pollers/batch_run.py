"""One batch of a stream from its first invocation until each of its records has succeeded or is given up. Pure.

A batch is a row of pieces. A function error costs the first piece an attempt, or halves it (`bisects`), which costs
none; what is refused costs none either. Records that are too old, or tried too often, are given up; those behind them
go on. Every record leaves exactly once, in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from lambent.model.event import Condition
from lambent.model.event_source_mapping import EventSourceMapping, SourceKind
from lambent.model.invocation import InvokeResult
from lambent.model.source_record import SourceRecord
from lambent.pollers.backoff import FUNCTION, THROTTLED
from lambent.pollers.batching import is_too_large

Records = Sequence[SourceRecord]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPolicy:
    """None is without bound."""

    maximum_retry_attempts: int | None = None
    maximum_age_s: float | None = None
    bisects: bool = False


_KAFKA = (SourceKind.MSK, SourceKind.SELF_MANAGED_KAFKA)
_KAFKA_RETRY_ATTEMPTS = 10
"""Where Kafka's records have a destination and no bound of their own; AWS does so, to have anything to send there."""


def run_policy(mapping: EventSourceMapping, retention_s: float | None) -> RunPolicy:
    """What the mapping says; a record that its stream has forgotten by itself is too old at any rate."""
    ages = [float(age) for age in (mapping.maximum_record_age_s, retention_s) if age is not None and age >= 0]
    attempts = mapping.maximum_retry_attempts
    if attempts is None or attempts < 0:
        attempts = _KAFKA_RETRY_ATTEMPTS if mapping.kind in _KAFKA and mapping.on_failure else None
    return RunPolicy(
        maximum_retry_attempts=attempts,
        maximum_age_s=min(ages, default=None),
        bisects=bool(mapping.bisects_on_error),
    )


@dataclass(frozen=True, slots=True)
class Invoke:
    records: Records


@dataclass(frozen=True, slots=True)
class Wait:
    until_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """`result` is what the function last said of them, after `invokes` invocations."""

    records: Records
    condition: Condition
    invokes: int
    result: InvokeResult | None


Step = Invoke | Wait | GiveUp


@dataclass(frozen=True, slots=True)
class _Piece:
    records: Records
    attempts: int = 0
    invokes: int = 0
    result: InvokeResult | None = None

    def of(self, records: Records) -> _Piece:
        return _Piece(records, self.attempts, self.invokes, self.result)


class BatchRun:
    """Do what `next` says, and say what came of it; times are epoch seconds, `draw` is chance (0–1)."""

    def __init__(self, records: Records, policy: RunPolicy) -> None:
        self._pieces = deque([_Piece(records)] if records else ())
        self._policy = policy
        self._failures = 0
        self._refusals = 0
        self._not_before_s = 0.0

    def next(self, now_s: float) -> Step | None:
        """None: all records have left."""
        if not self._pieces:
            return None
        piece, maximum = self._pieces[0], self._policy.maximum_retry_attempts
        if maximum is not None and piece.attempts > maximum:
            return self._give_up(piece.records, Condition.RETRY_ATTEMPTS_EXHAUSTED)
        if expired := self._expired(piece.records, now_s):
            return self._give_up(expired, Condition.RECORD_AGE_EXCEEDED)
        if is_too_large(piece.records[0]):
            return self._give_up(piece.records[:1], Condition.MAXIMUM_PAYLOAD_SIZE_EXCEEDED)
        if now_s < self._not_before_s:
            return Wait(min(self._not_before_s, self._expires_s(piece.records[0])))
        return Invoke(piece.records)

    def succeeded(self) -> Records:
        """The function has done the first piece."""
        self._calm()
        return self._pieces.popleft().records

    def failed(self, result: InvokeResult, now_s: float, draw: float, *, done: int = 0) -> Records:
        """It has not, but for the first `done` records, which are returned: they have left."""
        piece = self._pieces.popleft()
        left = _Piece(piece.records[done:], piece.attempts, piece.invokes + 1, result)
        if self._policy.bisects and (done or len(left.records) > 1):
            self._split(left, 0 if done else len(left.records) // 2)
        else:
            self._failures = 1 if done else self._failures + 1
            self._not_before_s = now_s + FUNCTION.wait_s(self._failures, draw)
            self._pieces.appendleft(_Piece(left.records, left.attempts + 1, left.invokes, result))
        self._refusals = 0
        return piece.records[:done]

    def refused(self, now_s: float, draw: float) -> None:
        """The function was not run."""
        self._refusals += 1
        self._not_before_s = now_s + THROTTLED.wait_s(self._refusals, draw)

    def given_up(self, step: GiveUp) -> None:
        """The records of this step have left."""
        piece = self._pieces.popleft()
        if left := piece.records[len(step.records) :]:
            self._pieces.appendleft(piece.of(left))
        else:
            self._calm()

    def _split(self, piece: _Piece, at: int) -> None:
        halves = (piece.records[:at], piece.records[at:])
        self._pieces.extendleft(piece.of(half) for half in reversed(halves) if half)

    def _expired(self, records: Records, now_s: float) -> Records:
        age_s = self._policy.maximum_age_s
        if age_s is None:
            return ()
        fresh = (at for at, one in enumerate(records) if one.arrived_s is None or now_s - one.arrived_s < age_s)
        return records[: next(fresh, len(records))]

    def _expires_s(self, record: SourceRecord) -> float:
        age_s = self._policy.maximum_age_s
        return float("inf") if age_s is None or record.arrived_s is None else record.arrived_s + age_s

    def _give_up(self, records: Records, condition: Condition) -> GiveUp:
        piece = self._pieces[0]
        return GiveUp(records, condition, piece.invokes, piece.result)

    def _calm(self) -> None:
        self._failures = self._refusals = 0
        self._not_before_s = 0.0
