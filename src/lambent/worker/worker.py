"""A worker: who lives on this host, from being wanted to its end; runs invocations there. Implements `ports.worker`.

How an environment is made is `environment_maker`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from lambent.model.arn import LATEST, FunctionArn
from lambent.model.errors import FunctionError, PlatformError
from lambent.model.events import InitializationType
from lambent.model.function import SNAP_START_ON, FunctionVersion
from lambent.model.invocation import EnvironmentId, InvokeRequest
from lambent.model.limits import RESTORE_TIMEOUT_S
from lambent.ports.worker import Answer, WorkerListener
from lambent.worker.environment import Environment, Notices, Origin
from lambent.worker.environment_maker import EnvironmentMaker, Order
from lambent.worker.host_memory import HostMemory
from lambent.worker.lifecycle import TIMED_OUT, State
from lambent.worker.outcomes import restore_error
from lambent.worker.runtimes import Interpreter
from lambent.worker.sandbox.client import Sandboxes
from lambent.worker.sandbox.plan import Level, SandboxPlan
from lambent.worker.sandbox.sandbox import Sandbox
from lambent.worker.templates import Templates
from lambent.worker.variables import ContainerToken

log = logging.getLogger(__name__)

_MIB = 1024 * 1024
_TEMPLATES_TRIED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatistics:
    environments: int
    templates: int
    """What environments of versions with SnapStart are forked from; they are not among the environments."""
    templates_memory_mib: int


_OF_TEMPLATE = ContainerToken("")
"""An environment that is restored has its variables from its template, whichever that will be."""


class LocalWorker:
    """All environments of this host. Leaving it stops them."""

    def __init__(self, sandboxes: Sandboxes, maker: EnvironmentMaker) -> None:
        self._sandboxes = sandboxes
        self._maker = maker
        self._memory = HostMemory.of_this_process()
        self._templates = Templates(self._start_template, self.stop)
        self._listener: WorkerListener | None = None
        self._environments: dict[EnvironmentId, Environment] = {}
        self._lives: dict[EnvironmentId, asyncio.Task[None]] = {}
        self._ends: dict[EnvironmentId, asyncio.Event] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for environment_id in list(self._lives):
            self.stop(environment_id)
        await asyncio.gather(*self._lives.values(), return_exceptions=True)

    def listen(self, listener: WorkerListener) -> None:
        self._listener = listener

    def start(
        self, version: FunctionVersion, initialization_type: InitializationType = InitializationType.ON_DEMAND
    ) -> EnvironmentId:
        if self._takes_snapshot(version):
            return self._begin(Order(version, Origin.RESTORED, InitializationType.SNAP_START, _OF_TEMPLATE))
        return self._begin(Order(version, Origin.OWN_INIT, initialization_type))

    def _start_template(self, version: FunctionVersion, token: ContainerToken) -> EnvironmentId:
        return self._begin(Order(version, Origin.TEMPLATE, InitializationType.SNAP_START, token))

    def _begin(self, order: Order) -> EnvironmentId:
        environment_id = EnvironmentId(secrets.token_hex(16))
        self._ends[environment_id] = asyncio.Event()
        life = self._live(environment_id, order, time.perf_counter())
        self._lives[environment_id] = asyncio.get_running_loop().create_task(life)
        return environment_id

    def invoke(self, environment_id: EnvironmentId, request: InvokeRequest, answer: Answer) -> None:
        environment = self._environments.get(environment_id)
        if environment is None:
            raise PlatformError(f"environment {environment_id} is gone")
        environment.invoke(request, answer)

    def stop(self, environment_id: EnvironmentId) -> None:
        environment = self._environments.get(environment_id)
        if environment is not None:
            environment.stop()
        elif environment_id in self._lives:
            self._lives[environment_id].cancel()

    async def prepare(self, version: FunctionVersion) -> None:
        """Make a version's code ready to run, and what its environments are forked from.

        Raises as `CodeCache.use`.
        """
        await self._maker.prepare(version)

    async def snapshot(self, version: FunctionVersion) -> None:
        """Run the Init of a published version with SnapStart, for all its environments to start where that has ended.

        Raises:
            FunctionError: it has failed.
            PlatformError: it could not be run.
        """
        if self._takes_snapshot(version):
            await self._templates.ready(version)

    def retain_snapshots(self, function: FunctionArn, versions: Collection[str]) -> None:
        """Let go of what other versions of an unqualified function have left."""
        self._templates.retain(function, versions)

    def snap_start_obstacle(self, runtime: str) -> str | None:
        """Why versions with this runtime cannot have SnapStart here; None if they can."""
        if not runtime.startswith("python"):
            return f"{runtime} is not supported for SnapStart enabled functions."
        level = self._sandboxes.report.level
        if level is not Level.FULL:
            return f"SnapStart takes sandboxes at isolation level full, and this host gives {level} (lambent doctor)."
        return None

    def _takes_snapshot(self, version: FunctionVersion) -> bool:
        return (
            version.snap_start == SNAP_START_ON
            and version.version != LATEST
            and self.snap_start_obstacle(version.runtime or "") is None
            and isinstance(self._maker.interpreter_of(version), Interpreter)
        )

    def statistics(self) -> WorkerStatistics:
        templates = [one for one in self._environments.values() if one.origin is Origin.TEMPLATE]
        return WorkerStatistics(
            environments=len(self._environments) - len(templates),
            templates=len(templates),
            templates_memory_mib=round(sum(one.memory_held_mib for one in templates)),
        )

    def expect(self, version: FunctionVersion) -> None:
        """A version that may be invoked: have what its runtime takes ready by then."""
        self._maker.expect(version)

    def memory_available_mib(self) -> int:
        return self._memory.free_bytes() // _MIB

    def memory_held_mib(self, environment_id: EnvironmentId) -> float:
        environment = self._environments.get(environment_id)
        return 0.0 if environment is None else environment.memory_held_mib

    def memory_peak_mib(self, environment_id: EnvironmentId) -> float:
        environment = self._environments.get(environment_id)
        return 0.0 if environment is None else environment.memory_peak_mib

    # The life of an environment, from its sandbox to its end -------------------------------------------------------

    async def _live(
        self,
        environment_id: EnvironmentId,
        order: Order,
        started: float,
    ) -> None:
        error: PlatformError | FunctionError | None = None
        try:
            async with AsyncExitStack() as stack:
                if order.origin is Origin.RESTORED:
                    await self._templates.ready(order.version)
                    started = time.perf_counter()  # making a template anew is not part of Restore
                environment = await self._make(stack, environment_id, order)
                self._environments[environment_id] = environment
                environment.begin(started=started)
                await self._ends[environment_id].wait()
                error = environment.failure if order.origin is not Origin.OWN_INIT else None
        except FunctionError as exc:
            error = exc
        except PlatformError as exc:
            log.error("environment.start_failed", exc_info=exc, extra={"environment_id": environment_id})
            error = exc
        except asyncio.CancelledError:
            error = PlatformError("the environment was stopped before it had started")
        finally:
            self._environments.pop(environment_id, None)
            del self._lives[environment_id], self._ends[environment_id]
            self._tell_gone(environment_id, order.origin, error)

    def _tell_gone(
        self, environment_id: EnvironmentId, origin: Origin, error: PlatformError | FunctionError | None
    ) -> None:
        if origin is Origin.TEMPLATE:
            self._templates.gone(environment_id, error)
        elif self._listener is not None:
            told = restore_error(error) if isinstance(error, FunctionError) else error
            self._listener.environment_gone(environment_id, told)

    async def _make(self, stack: AsyncExitStack, environment_id: EnvironmentId, order: Order) -> Environment:
        is_template = order.origin is Origin.TEMPLATE
        settled = self._template_settled if is_template else self._settled
        notices = Notices(responded=self._responded, settled=settled, gone=self._gone)
        return await self._maker.make(stack, environment_id, order, notices, self._restore)

    async def _restore(self, plan: SandboxPlan, version: FunctionVersion) -> tuple[Sandbox, ContainerToken]:
        """A sandbox from the version's template, and from a new one should that have died meanwhile."""
        for _ in range(_TEMPLATES_TRIED):
            template = await self._templates.ready(version)
            try:
                async with asyncio.timeout(RESTORE_TIMEOUT_S):
                    sandbox = await self._sandboxes.create(replace(plan, template=template.environment_id))
            except TimeoutError as exc:
                raise FunctionError(TIMED_OUT, "Its template has not come to be forked") from exc
            except PlatformError:
                if self._is_template(template.environment_id):
                    raise
                self._templates.gone(template.environment_id, None)
            else:
                return sandbox, template.token
        raise PlatformError("its template has died again and again")

    def _is_template(self, environment_id: EnvironmentId) -> bool:
        environment = self._environments.get(environment_id)
        return environment is not None and environment.state is State.TEMPLATE

    def _responded(self, environment_id: EnvironmentId) -> None:
        if self._listener is not None:
            self._listener.environment_responded(environment_id)

    def _settled(self, environment_id: EnvironmentId, is_warm: bool) -> None:
        if self._listener is not None:
            self._listener.environment_settled(environment_id, is_warm=is_warm)

    def _template_settled(self, environment_id: EnvironmentId, is_warm: bool) -> None:
        self._templates.made(environment_id)

    def _gone(self, environment_id: EnvironmentId) -> None:
        self._ends[environment_id].set()
