"""A worker: makes environments on this host and runs invocations in them. Implements `ports.worker`."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from lambent.http.server import Limits, Server
from lambent.model.arn import LATEST, FunctionArn
from lambent.model.errors import FunctionError, PlatformError
from lambent.model.events import InitializationType
from lambent.model.function import SNAP_START_ON, FunctionVersion, LogFormat
from lambent.model.invocation import EnvironmentId, InvokeRequest
from lambent.model.limits import INVOKE_RESPONSE_BYTES, MEMORY_MIB_PER_VCPU, PROCESSES, RESTORE_TIMEOUT_S
from lambent.ports.roles import RoleSessions
from lambent.ports.telemetry import Telemetry
from lambent.ports.worker import Answer, WorkerListener
from lambent.worker.aws_endpoint import AwsEndpoint
from lambent.worker.code_cache import CodeCache
from lambent.worker.container_credentials import ContainerCredentials
from lambent.worker.environment import Environment, Notices, Origin
from lambent.worker.event_stream import EventStream
from lambent.worker.extensions_api import ExtensionsApi
from lambent.worker.launch import (
    Launch,
    custom_process,
    external_extensions,
    is_os_only,
    managed_process,
    plan_launch,
)
from lambent.worker.lifecycle import TIMED_OUT, State
from lambent.worker.nursery import Nursery
from lambent.worker.outcomes import restore_error
from lambent.worker.output import Output, open_extension_output
from lambent.worker.prewarm import choose_prewarmed
from lambent.worker.processes import Processes
from lambent.worker.reporter import Reporter
from lambent.worker.runtime_api import RuntimeApi
from lambent.worker.runtimes import Interpreter, Missing, resolve_runtime, runtime_version
from lambent.worker.sandbox.client import Sandboxes
from lambent.worker.sandbox.plan import RUNTIME_API_ADDRESS, Level, ProcessPlan, SandboxPlan
from lambent.worker.sandbox.sandbox import Sandbox
from lambent.worker.streaming import comes_in_pieces
from lambent.worker.telemetry_api import TelemetryApi
from lambent.worker.templates import Templates
from lambent.worker.variables import ContainerToken, runtime_variables

log = logging.getLogger(__name__)

_RUNTIME_API_LIMITS = Limits(
    body_bytes=INVOKE_RESPONSE_BYTES + 1024 * 1024,
    bodies_bytes=2 * (INVOKE_RESPONSE_BYTES + 1024 * 1024),
    connections=64,
    head_timeout_s=None,
    body_timeout_s=None,
    idle_timeout_s=None,
)
"""A little above what a response may hold, so that one too large is answered in the Runtime API's own words.
Connections for a runtime and ten extensions; what hostile ones can make the server hold is bounded."""


_TEMPLATES_TRIED = 3
_AWS_LIMITS = Limits(
    head_bytes=64 * 1024,
    bodies_bytes=32 * 1024 * 1024,
    connections=512,
    head_timeout_s=None,
    body_timeout_s=None,
    idle_timeout_s=None,
)
"""No times here either: a sandbox may be frozen at any moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    runtime_dirs: dict[str, Path]
    """Our runtime clients: what becomes /var/runtime. By language, and by runtime where versions differ."""
    interpreters: tuple[Interpreter, ...]
    runtime_fallback: str
    egress: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatistics:
    environments: int
    templates: int
    """What environments of versions with SnapStart are forked from; they are not among the environments."""
    templates_memory_mib: int


@dataclass(frozen=True, slots=True)
class Order:
    """An environment to be made."""

    version: FunctionVersion
    origin: Origin
    initialization_type: InitializationType
    token: ContainerToken | None = None
    """Of one that asks for its credentials."""


_OF_TEMPLATE = ContainerToken("")
"""An environment that is restored has its variables from its template, whichever that will be."""


class LocalWorker:
    """All environments of this host. Leaving it stops them."""

    def __init__(
        self,
        *,
        options: WorkerOptions,
        sandboxes: Sandboxes,
        code_cache: CodeCache,
        telemetry: Telemetry,
        role_sessions: RoleSessions,
        aws_endpoint: AwsEndpoint,
    ) -> None:
        self._options = options
        self._sandboxes = sandboxes
        self._code_cache = code_cache
        self._nursery = Nursery(sandboxes)
        self._templates = Templates(self._start_template, self.stop)
        self._telemetry = telemetry
        self._role_sessions = role_sessions
        self._aws_endpoint = aws_endpoint
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
        async with AsyncExitStack() as stack:
            code_dir, layer_dirs = await self._code_of(version, stack)
            await self._nursery.zygote_for(version, self._runtime_of(version)[0], code_dir, layer_dirs)

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
            and isinstance(self._runtime_of(version)[0], Interpreter)
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
        interpreter, _ = self._runtime_of(version)
        if isinstance(interpreter, Interpreter):
            self._nursery.expect(version, interpreter, self._runtime_dir(interpreter))

    def memory_available_mib(self) -> int:
        return _memory_available_mib()

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

    async def _make(
        self,
        stack: AsyncExitStack,
        environment_id: EnvironmentId,
        order: Order,
    ) -> Environment:
        version, initialization_type, token = order.version, order.initialization_type, order.token
        code_dir, layer_dirs = await self._code_of(version, stack)
        stream_name = _stream_name(version, environment_id)
        interpreter, runtime_label = self._runtime_of(version)
        names = external_extensions(layer_dirs)
        zygote = await self._nursery.zygote_for(version, interpreter, code_dir, layer_dirs)
        if order.origin is Origin.TEMPLATE and names:
            raise FunctionError(
                "Extension.LaunchError", f"Lambent cannot restore external extensions ({', '.join(names)})"
            )
        issue = partial(self._role_sessions.issue_role_session, version.role, version.arn)
        credentials = await issue() if token is None else token
        variables = runtime_variables(
            version,
            log_stream=stream_name,
            runtime_api=RUNTIME_API_ADDRESS,
            credentials=credentials,
            initialization_type=initialization_type,
        )
        launch, plan = self._plan(
            environment_id, version, code_dir, layer_dirs, names, interpreter, zygote, dict(variables)
        )
        if order.origin is Origin.RESTORED:
            sandbox, token = await self._restore(plan, version)
        else:
            sandbox = await self._sandboxes.create(plan)
        stream = EventStream(self._telemetry.open(version, stream_name))
        outputs, extension_output_fd = [Output(sandbox.output_fd, stream)], None
        if launch.extensions:
            extension_output, extension_output_fd = open_extension_output(stack, stream)
            outputs.append(extension_output)
        extensions = ExtensionsApi(version, names)
        environment = Environment(
            environment_id=environment_id,
            version=version,
            sandbox=sandbox,
            launch=launch,
            extensions=extensions,
            telemetry=TelemetryApi(
                extensions,
                stream,
                sandbox.connect,
                has_json_lines=version.logging.log_format is LogFormat.JSON,
            ),
            processes=Processes(sandbox, extensions, extension_output_fd),
            reporter=Reporter(
                instance_id=environment_id,
                version=version,
                initialization_type=initialization_type,
                runtime_version=runtime_label,
                stream=stream,
                outputs=outputs,
                memory_peak_bytes=sandbox.memory_peak_bytes,
            ),
            notices=Notices(
                responded=self._responded,
                settled=self._template_settled if order.origin is Origin.TEMPLATE else self._settled,
                gone=self._gone,
            ),
            origin=order.origin,
        )
        await self._serve_runtime_api(
            stack, environment, sandbox, ContainerCredentials(token, issue) if token else None
        )
        await self._serve_aws(stack, sandbox)
        return environment

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

    async def _code_of(self, version: FunctionVersion, stack: AsyncExitStack) -> tuple[Path, list[Path]]:
        """The version's package and layers, unpacked, for as long as the stack stands."""
        blobs = [version.code_blob, *(layer.code_blob for layer in version.layers)]
        code_dir, *layer_dirs = [await stack.enter_async_context(self._code_cache.use(blob)) for blob in blobs]
        return code_dir, layer_dirs

    def _runtime_of(self, version: FunctionVersion) -> tuple[Interpreter | Missing | None, tuple[str, str] | None]:
        if is_os_only(version) or version.runtime is None:
            return None, None
        interpreter = resolve_runtime(version.runtime, self._options.interpreters, self._options.runtime_fallback)
        runs = interpreter.runtime if isinstance(interpreter, Interpreter) else version.runtime
        return interpreter, runtime_version(runs, version.region)

    def _plan(
        self,
        environment_id: EnvironmentId,
        version: FunctionVersion,
        code_dir: Path,
        layer_dirs: Sequence[Path],
        extension_names: Sequence[str],
        interpreter: Interpreter | Missing | None,
        zygote: str | None,
        variables: dict[str, str],
    ) -> tuple[Launch, SandboxPlan]:
        process: ProcessPlan | FunctionError
        prewarmed = None
        match interpreter:
            case Interpreter():
                runtime_dir = self._runtime_dir(interpreter)
                prewarmed = choose_prewarmed(version, interpreter, runtime_dir, code_dir, layer_dirs)
                is_prewarmed = prewarmed is not None
                process = managed_process(version, interpreter, variables, zygote=zygote, is_prewarmed=is_prewarmed)
            case Missing(message=message):
                process = FunctionError("Runtime.InvalidRuntime", message)
            case None:
                process = custom_process(code_dir, layer_dirs, variables)
        launch = plan_launch(process, extension_names, variables)
        language_dir = interpreter.language_dir if isinstance(interpreter, Interpreter) else None
        plan = SandboxPlan(
            sandbox_id=environment_id,
            code_dir=str(code_dir),
            layer_dirs=tuple(map(str, layer_dirs)),
            runtime_dir=str(self._runtime_dir(interpreter)),
            language_dir=str(language_dir) if language_dir else None,
            memory_mib=version.memory_mib,
            cpu_share=version.memory_mib / MEMORY_MIB_PER_VCPU,
            pids_maximum=PROCESSES,
            ephemeral_storage_mib=version.ephemeral_storage_mib,
            egress=self._options.egress,
            processes=launch.at_boot,
            zygote=zygote,
            prewarmed=prewarmed,
        )
        return launch, plan

    def _runtime_dir(self, interpreter: Interpreter | Missing | None) -> Path:
        directories = self._options.runtime_dirs
        if not isinstance(interpreter, Interpreter):
            return directories["none"]
        return directories.get(interpreter.runtime) or directories[interpreter.language]

    async def _serve_runtime_api(
        self,
        stack: AsyncExitStack,
        environment: Environment,
        sandbox: Sandbox,
        credentials: ContainerCredentials | None,
    ) -> None:
        api = RuntimeApi(environment, credentials)
        server = await stack.enter_async_context(
            Server(api.handle, limits=_RUNTIME_API_LIMITS, name="runtime-api", streams=comes_in_pieces)
        )
        await server.serve_socket(sandbox.listener)

    async def _serve_aws(self, stack: AsyncExitStack, sandbox: Sandbox) -> None:
        endpoint = self._aws_endpoint
        server = await stack.enter_async_context(
            Server(endpoint.handle, limits=_AWS_LIMITS, name="aws-endpoint", streams=endpoint.streams)
        )
        await server.serve_socket(sandbox.endpoint_listener)

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


def _stream_name(version: FunctionVersion, environment_id: EnvironmentId) -> str:
    """One stream per environment; a shared log group tells the functions apart (reference/lifecycle.md §5)."""
    name = version.name if version.logging.log_group else ""
    return f"{datetime.now(UTC):%Y/%m/%d}/{name}[{version.version}]{environment_id}"


def _memory_available_mib() -> int:
    with open("/proc/meminfo", "rb") as meminfo:
        for line in meminfo:
            if line.startswith(b"MemAvailable:"):
                return int(line.split()[1]) // 1024
    return 0
