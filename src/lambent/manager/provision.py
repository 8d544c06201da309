"""The environments of one version that are kept initialised whether or not invokes come. Pure: it starts nothing.

Whoever holds this starts as many as are `missing` and stops those that it is told to; times are of one monotonic clock.
An environment that is worn out stays until another one is ready in its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lambent.model.invocation import EnvironmentId

INIT_FAILED = "FUNCTION_ERROR_INIT_FAILURE"

_RETRY_FIRST_S = 1.0
_RETRY_LAST_S = 60.0


class Provision:
    def __init__(self) -> None:
        self.requested = 0
        self.starting: set[EnvironmentId] = set()
        self.ready: set[EnvironmentId] = set()
        """Initialised: at work, or idle."""
        self.failure: str | None = None
        """Why the last attempt has failed; None once one has succeeded."""
        self._idle: dict[EnvironmentId, None] = {}
        self._worn: set[EnvironmentId] = set()
        self._retry_s = _RETRY_FIRST_S
        self._retry_at_s = 0.0

    def __contains__(self, environment_id: EnvironmentId) -> bool:
        return environment_id in self.ready or environment_id in self.starting

    def __len__(self) -> int:
        return len(self.ready) + len(self.starting)

    @property
    def idle(self) -> int:
        return len(self._idle)

    def missing(self, now_s: float) -> int:
        """How many to start now. After a failure it waits, longer each time, and then tries a single one."""
        missing = max(0, self.requested - len(self.starting) - self._fresh)
        if self.failure is None:
            return missing
        return min(1, missing) if now_s >= self._retry_at_s and not self.starting else 0

    def take_idle(self) -> EnvironmentId | None:
        """The environment that was used last, for an invoke."""
        return self._idle.popitem()[0] if self._idle else None

    def add_starting(self, environment_id: EnvironmentId) -> None:
        self.starting.add(environment_id)

    def add_ready(self, environment_id: EnvironmentId) -> None:
        """It is initialised; whoever has it hands it on, or lets it `rest`."""
        if environment_id in self.starting:
            self.starting.discard(environment_id)
            self.failure, self._retry_s = None, _RETRY_FIRST_S
        self.ready.add(environment_id)

    def rest(self, environment_id: EnvironmentId) -> None:
        self._idle[environment_id] = None

    def remove(self, environment_id: EnvironmentId) -> None:
        self.starting.discard(environment_id)
        self.ready.discard(environment_id)
        self._idle.pop(environment_id, None)
        self._worn.discard(environment_id)

    def fail(self, reason: str, now_s: float) -> None:
        """One could not be had; several at once are one failure."""
        self.failure = reason
        if now_s >= self._retry_at_s:
            self._retry_at_s = now_s + self._retry_s
            self._retry_s = min(2 * self._retry_s, _RETRY_LAST_S)

    def wear_out(self, born_s: Mapping[EnvironmentId, float], *, born_before_s: float) -> None:
        """Those that have existed since then or longer are to be replaced."""
        self._worn.update(one for one in self.ready if born_s[one] <= born_before_s)

    def is_surplus(self, environment_id: EnvironmentId) -> bool:
        """Whether one that has just done its work is to go: worn ones go first."""
        return (len(self.ready) if environment_id in self._worn else self._fresh) > self.requested

    @property
    def _fresh(self) -> int:
        return len(self.ready) - len(self._worn)

    def take_surplus(self) -> Sequence[EnvironmentId]:
        """Remove and return those to be stopped now; those at work go when they are done (`is_surplus`)."""
        needless = len(self.starting) - max(0, self.requested - self._fresh)
        chosen = sorted(self.starting)[: max(0, needless)]
        chosen += [one for one in self._idle if one in self._worn][: max(0, len(self.ready) - self.requested)]
        chosen += [one for one in self._idle if one not in self._worn][: max(0, self._fresh - self.requested)]
        for environment_id in chosen:
            self.remove(environment_id)
        return chosen
