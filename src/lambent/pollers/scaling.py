"""How many pollers read a queue at once (reference/concurrency-scaling.md §6). Pure: time comes in.

While polls bring messages one poller joins after the other, as fast as AWS lets concurrency grow; each poll that brings
nothing and each batch that fails retires one.
"""

from __future__ import annotations

from dataclasses import dataclass

from lambent.model.event_source_mapping import EventSourceMapping, SourceKind

INITIAL = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingLimits:
    initial: int = INITIAL
    minimum: int = 2
    maximum: int = 1_250
    growth_per_s: float = 5.0
    """300 a minute."""


def scaling_limits(mapping: EventSourceMapping) -> ScalingLimits:
    if mapping.kind is SourceKind.MQ:
        return ScalingLimits(initial=1, minimum=1, maximum=1)
    if mapping.maximum_concurrency is None:
        return ScalingLimits()
    # AWS keeps all five where the concurrency has a maximum.
    initial = min(INITIAL, mapping.maximum_concurrency)
    return ScalingLimits(initial=initial, minimum=initial, maximum=mapping.maximum_concurrency)


class Scaling:
    def __init__(self, limits: ScalingLimits) -> None:
        self._limits = limits
        self._credit = 0.0
        self._credited_s: float | None = None
        self._has_failed = False
        self.size = limits.initial

    def found(self, now_s: float) -> None:
        """A poll brought messages."""
        limits = self._limits
        if self.size < limits.initial and not self._has_failed:
            self.size = limits.initial
        since_s = now_s if self._credited_s is None else self._credited_s
        self._credit = min(self._credit + (now_s - since_s) * limits.growth_per_s, limits.growth_per_s * 60)
        self._credited_s = now_s
        if self._credit >= 1 and self.size < limits.maximum:
            self._credit -= 1
            self.size += 1

    def found_nothing(self) -> None:
        self._has_failed = False
        self._shrink()

    def failed(self) -> None:
        """A batch failed, or could not be run: from there on it grows anew, and not at once to what it began with."""
        self._has_failed = True
        self._shrink()

    def _shrink(self) -> None:
        self.size = max(self._limits.minimum, self.size - 1)
        self._credit, self._credited_s = 0.0, None
