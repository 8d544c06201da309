"""Provisioned concurrency: what was asked for, and how far that has come (reference/concurrency-scaling.md §3)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ProvisionedStatus(StrEnum):
    IN_PROGRESS = "IN_PROGRESS"
    READY = "READY"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionedConcurrency:
    """What a version or an alias is to have; `last_modified` as AWS writes it, `2024-01-01T00:00:00+0000`."""

    requested: int
    last_modified: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """What it has: environments made, those of them initialised, and why there are no more if that has failed."""

    allocated: int = 0
    available: int = 0
    failure: str | None = None

    def status(self, requested: int) -> ProvisionedStatus:
        if self.available >= requested:
            return ProvisionedStatus.READY
        return ProvisionedStatus.IN_PROGRESS if self.failure is None else ProvisionedStatus.FAILED
