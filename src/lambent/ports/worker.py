"""The host's side as the manager sees it: environments are started, invoked and stopped by id."""

from __future__ import annotations

from typing import Protocol

from lambent.model.errors import ApiError, PlatformError
from lambent.model.events import InitializationType
from lambent.model.function import FunctionVersion
from lambent.model.invocation import EnvironmentId, InvokeRequest, InvokeResult
from lambent.model.response_stream import ResponseStream


class Answer(Protocol):
    """Where the outcome of an invocation goes: a future where a task awaits it, whoever wants it where none does."""

    def done(self) -> bool:
        """Nobody waits any more."""
        ...

    def set_result(self, result: InvokeResult | ResponseStream, /) -> None: ...
    def set_exception(self, error: PlatformError, /) -> None: ...


class WorkerListener(Protocol):
    """What a worker tells its manager. Called in the event loop; must return at once."""

    def environment_settled(self, environment_id: EnvironmentId, *, is_warm: bool = True) -> None:
        """The environment waits for its next invocation: warm, or yet to be initialised in it."""
        ...

    def environment_responded(self, environment_id: EnvironmentId) -> None:
        """The caller has the whole answer; the environment will settle very soon, unless it fails."""
        ...

    def environment_gone(self, environment_id: EnvironmentId, error: PlatformError | ApiError | None) -> None:
        """The environment exists no more; `error` tells why, where it could not even be made, or restored."""
        ...


class Worker(Protocol):
    def listen(self, listener: WorkerListener) -> None: ...

    def start(
        self, version: FunctionVersion, initialization_type: InitializationType = InitializationType.ON_DEMAND
    ) -> EnvironmentId:
        """Begin the Init of a new environment and return its id at once; the listener hears how it went."""
        ...

    def invoke(self, environment_id: EnvironmentId, request: InvokeRequest, answer: Answer) -> None:
        """Begin one invocation in a settled environment; the answer is given as soon as the caller can have it.

        A stream is given to those who want one, if the function streams.

        The environment is busy until the listener hears `environment_settled` (or `environment_gone`) again, whether
        or not anybody waits for the answer.

        Raises:
            PlatformError: the environment is gone.
        """
        ...

    def stop(self, environment_id: EnvironmentId) -> None:
        """Begin the Shutdown of an environment."""
        ...

    def memory_available_mib(self) -> int:
        """What this host can still give to new environments; below zero where those it has hold too much."""
        ...

    def memory_held_mib(self, environment_id: EnvironmentId) -> float:
        """What an environment takes now; zero where it is not made yet or nobody counts."""
        ...

    def memory_peak_mib(self, environment_id: EnvironmentId) -> float:
        """The most it had taken when its last invocation ended; zero before the first."""
        ...
