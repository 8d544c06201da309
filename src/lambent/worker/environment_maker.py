"""How an environment is made: code, runtime, plan, sandbox, and the two APIs that are served to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import assert_never

from lambent.http.server import Limits, Server
from lambent.model.errors import FunctionError
from lambent.model.events import InitializationType
from lambent.model.function import FunctionVersion, LogFormat
from lambent.model.invocation import EnvironmentId
from lambent.model.limits import INVOKE_RESPONSE_BYTES, MEMORY_MIB_PER_VCPU, PROCESSES
from lambent.ports.roles import RoleSessions
from lambent.ports.telemetry import Telemetry
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
from lambent.worker.nursery import Nursery
from lambent.worker.output import Output, open_extension_output
from lambent.worker.prewarm import choose_prewarmed
from lambent.worker.processes import Processes
from lambent.worker.reporter import Reporter
from lambent.worker.runtime_api import RuntimeApi, comes_in_pieces
from lambent.worker.runtimes import Interpreter, Missing, resolve_runtime, runtime_version
from lambent.worker.sandbox.client import Sandboxes
from lambent.worker.sandbox.plan import RUNTIME_API_ADDRESS, Prewarmed, ProcessPlan, SandboxPlan
from lambent.worker.sandbox.sandbox import Sandbox
from lambent.worker.telemetry_api import TelemetryApi
from lambent.worker.variables import ContainerToken, runtime_variables

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
class MakerOptions:
    runtime_dirs: dict[str, Path]
    """Our runtime clients: what becomes /var/runtime. By language, and by runtime where versions differ."""
    interpreters: tuple[Interpreter, ...]
    runtime_fallback: str
    egress: str


@dataclass(frozen=True, slots=True)
class Order:
    """An environment to be made."""

    version: FunctionVersion
    origin: Origin
    initialization_type: InitializationType
    token: ContainerToken | None = None
    """Of one that asks for its credentials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Means:
    """What an environment of a version takes of this host."""

    code_dir: Path
    layer_dirs: Sequence[Path]
    extension_names: Sequence[str]
    interpreter: Interpreter | Missing | None
    zygote: str | None


Restore = Callable[[SandboxPlan, FunctionVersion], Awaitable[tuple[Sandbox, ContainerToken]]]
"""Makes a sandbox from the version's template."""


class EnvironmentMaker:
    def __init__(
        self,
        *,
        options: MakerOptions,
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
        self._telemetry = telemetry
        self._role_sessions = role_sessions
        self._aws_endpoint = aws_endpoint

    async def prepare(self, version: FunctionVersion) -> None:
        """Unpack the version's code, and have ready what its first environment takes."""
        interpreter = self.interpreter_of(version)
        async with AsyncExitStack() as stack:
            code_dir, layer_dirs = await self._code_of(version, stack)
            zygote = await self._nursery.zygote_for(version, interpreter, code_dir, layer_dirs)
            if isinstance(interpreter, Interpreter):
                prewarmed = choose_prewarmed(version, interpreter, self._runtime_dir(interpreter), code_dir, layer_dirs)
                self._nursery.expect_first_call(version, zygote, prewarmed)

    def expect(self, version: FunctionVersion) -> None:
        """Have ready what the version's runtime takes."""
        interpreter = self.interpreter_of(version)
        if isinstance(interpreter, Interpreter):
            self._nursery.expect(version, interpreter, self._runtime_dir(interpreter))

    def interpreter_of(self, version: FunctionVersion) -> Interpreter | Missing | None:
        """What runs the version; None for what brings its own."""
        if is_os_only(version) or version.runtime is None:
            return None
        return resolve_runtime(version.runtime, self._options.interpreters, self._options.runtime_fallback)

    async def make(
        self, stack: AsyncExitStack, environment_id: EnvironmentId, order: Order, notices: Notices, restore: Restore
    ) -> Environment:
        """An environment that is about to begin; what it rests on is given back with the stack.

        Raises:
            FunctionError: there can be none of the version.
            PlatformError: a step failed, which is named.
        """
        version, token = order.version, order.token
        means = await self._means(stack, order)
        stream_name = _stream_name(version, environment_id)
        issue = partial(self._role_sessions.issue_role_session, version.role, version.arn)
        variables = runtime_variables(
            version,
            log_stream=stream_name,
            runtime_api=RUNTIME_API_ADDRESS,
            credentials=await issue() if token is None else token,
            initialization_type=order.initialization_type,
        )
        launch, plan = self._plan(environment_id, version, means, dict(variables))
        if order.origin is Origin.RESTORED:
            sandbox, token = await restore(plan, version)
        else:
            sandbox = await self._sandboxes.create(plan)
        stream = EventStream(self._telemetry.open(version, stream_name))
        environment = _assemble(stack, environment_id, order, means, launch, sandbox, stream, notices)
        await self._serve_runtime_api(
            stack, environment, sandbox, ContainerCredentials(token, issue) if token else None
        )
        await self._serve_aws(stack, sandbox)
        return environment

    async def _means(self, stack: AsyncExitStack, order: Order) -> _Means:
        version, interpreter = order.version, self.interpreter_of(order.version)
        code_dir, layer_dirs = await self._code_of(version, stack)
        extension_names = external_extensions(layer_dirs)
        if order.origin is Origin.TEMPLATE and extension_names:
            listed = ", ".join(extension_names)
            raise FunctionError("Extension.LaunchError", f"Lambent cannot restore external extensions ({listed})")
        zygote = await self._nursery.zygote_for(version, interpreter, code_dir, layer_dirs)
        return _Means(
            code_dir=code_dir,
            layer_dirs=layer_dirs,
            extension_names=extension_names,
            interpreter=interpreter,
            zygote=zygote,
        )

    async def _code_of(self, version: FunctionVersion, stack: AsyncExitStack) -> tuple[Path, list[Path]]:
        """The version's package and layers, unpacked, for as long as the stack stands."""
        blobs = [version.code_blob, *(layer.code_blob for layer in version.layers)]
        code_dir, *layer_dirs = [await stack.enter_async_context(self._code_cache.use(blob)) for blob in blobs]
        return code_dir, layer_dirs

    def _plan(
        self, environment_id: EnvironmentId, version: FunctionVersion, means: _Means, variables: dict[str, str]
    ) -> tuple[Launch, SandboxPlan]:
        runtime_dir, interpreter = self._runtime_dir(means.interpreter), means.interpreter
        process, prewarmed = _runtime_process(version, means, runtime_dir, variables)
        launch = plan_launch(process, means.extension_names, variables)
        language_dir = interpreter.language_dir if isinstance(interpreter, Interpreter) else None
        plan = SandboxPlan(
            sandbox_id=environment_id,
            code_dir=str(means.code_dir),
            layer_dirs=tuple(map(str, means.layer_dirs)),
            runtime_dir=str(runtime_dir),
            language_dir=str(language_dir) if language_dir else None,
            memory_mib=version.memory_mib,
            cpu_share=version.memory_mib / MEMORY_MIB_PER_VCPU,
            pids_maximum=PROCESSES,
            ephemeral_storage_mib=version.ephemeral_storage_mib,
            egress=self._options.egress,
            processes=launch.at_boot,
            zygote=means.zygote,
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


def _runtime_process(
    version: FunctionVersion, means: _Means, runtime_dir: Path, variables: dict[str, str]
) -> tuple[ProcessPlan | FunctionError, Prewarmed | None]:
    """What runs the function's code, and what may wait for it; an error that every Init is to end with."""
    match means.interpreter:
        case Interpreter() as interpreter:
            prewarmed = choose_prewarmed(version, interpreter, runtime_dir, means.code_dir, means.layer_dirs)
            is_prewarmed = prewarmed is not None
            process = managed_process(version, interpreter, variables, zygote=means.zygote, is_prewarmed=is_prewarmed)
            return process, prewarmed
        case Missing(message=message):
            return FunctionError("Runtime.InvalidRuntime", message), None
        case None:
            return custom_process(means.code_dir, means.layer_dirs, variables), None
        case _:
            assert_never(means.interpreter)


def _assemble(
    stack: AsyncExitStack,
    environment_id: EnvironmentId,
    order: Order,
    means: _Means,
    launch: Launch,
    sandbox: Sandbox,
    stream: EventStream,
    notices: Notices,
) -> Environment:
    version = order.version
    outputs, extension_output_fd = [Output(sandbox.output_fd, stream)], None
    if launch.extensions:
        extension_output, extension_output_fd = open_extension_output(stack, stream)
        outputs.append(extension_output)
    extensions = ExtensionsApi(version, means.extension_names)
    has_json_lines = version.logging.log_format is LogFormat.JSON
    return Environment(
        environment_id=environment_id,
        version=version,
        sandbox=sandbox,
        launch=launch,
        extensions=extensions,
        telemetry=TelemetryApi(extensions, stream, sandbox.connect, has_json_lines=has_json_lines),
        processes=Processes(sandbox, extensions, extension_output_fd),
        reporter=Reporter(
            instance_id=environment_id,
            version=version,
            initialization_type=order.initialization_type,
            runtime_version=_label(version, means.interpreter),
            stream=stream,
            outputs=outputs,
            memory_peak_bytes=sandbox.memory_peak_bytes,
        ),
        notices=notices,
        origin=order.origin,
    )


def _label(version: FunctionVersion, interpreter: Interpreter | Missing | None) -> tuple[str, str] | None:
    """What INIT_START calls the runtime: the one that runs, which need not be the one that was asked for."""
    if version.runtime is None or interpreter is None:
        return None
    runs = interpreter.runtime if isinstance(interpreter, Interpreter) else version.runtime
    return runtime_version(runs, version.region)


def _stream_name(version: FunctionVersion, environment_id: EnvironmentId) -> str:
    """One stream per environment; a shared log group tells the functions apart (reference/lifecycle.md §5)."""
    name = version.name if version.logging.log_group else ""
    return f"{datetime.now(UTC):%Y/%m/%d}/{name}[{version.version}]{environment_id}"
