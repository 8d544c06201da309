"""The composition root: the only place that chooses backends and joins the parts to a running server."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from lambent.adapters.files.blobs import FileBlobs
from lambent.adapters.http.aws_services import AwsServices, Signer
from lambent.adapters.http.code_source import S3CodeSource
from lambent.adapters.http.event_sources import HttpEventSources
from lambent.adapters.http.secrets import Secrets
from lambent.adapters.http.targets import HttpTargets
from lambent.adapters.memory.ownership import LocalOwnership
from lambent.adapters.sources.brokers import Brokers
from lambent.adapters.sources.by_kind import SourcesByKind
from lambent.adapters.sources.http_sources import HttpSources
from lambent.adapters.sources.kafka_targets import KafkaTargets
from lambent.adapters.sqlite.event_queue import SqliteEventQueue
from lambent.adapters.sqlite.log_store import SqliteLogStore
from lambent.adapters.sqlite.store import SqliteStore
from lambent.config import ANY_SERVICE, Auth, Egress, KeepAlive, ServeOptions
from lambent.control import Control
from lambent.control.provisioned import AllocationOf, provisioned_sum
from lambent.frontend.events_api import EventsApi
from lambent.frontend.function_urls import FunctionUrls
from lambent.frontend.gateway import Authenticator, Gateway
from lambent.frontend.ids import new_request_id
from lambent.frontend.invoke_api import InvokeApi
from lambent.frontend.local_api import LocalApi
from lambent.heap import keep_trimmed
from lambent.http.server import Limits, Server
from lambent.iam import root_key, sigv4
from lambent.iam.authenticator import EnforcingAuthenticator, Key, OpenAuthenticator
from lambent.iam.entities import Entities
from lambent.iam.execution_roles import ExecutionRoles
from lambent.iam.operations import IamApi
from lambent.iam.sessions import Sessions
from lambent.iam.sts import Sts
from lambent.invoke.events import Events
from lambent.invoke.every_function import every_function
from lambent.invoke.invoker import Invoker
from lambent.invoke.resolve import Provisions, Resolver
from lambent.invoke.urls import UrlDirectory
from lambent.logs.operations import LogsApi
from lambent.logs.retention import keep_trimming
from lambent.logs.writer import TelemetryWriter
from lambent.manager.manager import LocalManager
from lambent.model.arn import FunctionArn
from lambent.model.function import FunctionRecord, FunctionVersion
from lambent.model.limits import REQUEST_BYTES
from lambent.pollers import Pollers, Surroundings
from lambent.ports.sources import Sources
from lambent.ports.store import Store
from lambent.ports.targets import Targets
from lambent.spec.service import Service, load, load_model
from lambent.worker.aws_endpoint import AwsEndpoint
from lambent.worker.code_cache import CodeCache
from lambent.worker.environment_maker import EnvironmentMaker, MakerOptions
from lambent.worker.runtime_dirs import compile_client
from lambent.worker.runtimes import Interpreter, Missing, resolve_runtime
from lambent.worker.sandbox.client import Sandboxes
from lambent.worker.worker import LocalWorker

log = logging.getLogger(__name__)

_ARCHITECTURES = {"aarch64": "arm64"}
"""AWS's names where they are not the kernel's."""

_SERVICES = ("lambda", "logs", "sts", "iam")

Drain = Callable[[float], Awaitable[None]]
"""Begins nothing more, and returns when what runs has ended or the seconds are over."""


def load_services() -> Mapping[str, Service]:
    return {name: load(name) for name in _SERVICES}


class _Identity:
    """IAM's parts, joined: who calls, which roles there are, and their sessions."""

    def __init__(self, store: Store, key: Key, *, is_open: bool) -> None:
        entities, sessions = Entities(store), Sessions(key.credential.secret)
        self.iam = IamApi(entities)
        self.sts = Sts(entities, sessions, is_open=is_open)
        self.execution_roles = ExecutionRoles(entities, sessions, accepts_unknown=is_open)
        self.authenticator: Authenticator = (
            OpenAuthenticator(sessions)
            if is_open
            else EnforcingAuthenticator({key.credential.access_key_id: key}.get, sessions)
        )


class Host:
    """The parts of one server on one machine, joined."""

    def __init__(
        self,
        options: ServeOptions,
        egress: Egress,
        data_dir: Path,
        interpreters: tuple[Interpreter, ...],
        runtime_dirs: dict[str, Path],
        sandboxes: Sandboxes,
        services: Mapping[str, Service],
    ) -> None:
        self._options = options
        self._egress = egress
        self._data_dir = data_dir
        self._interpreters = interpreters
        self._runtime_dirs = runtime_dirs
        self._sandboxes = sandboxes
        self._services = services

    async def start(self, stack: AsyncExitStack) -> tuple[Server, Sequence[Drain]]:
        """Everything but the listening socket. What is entered later is left first: callers before those they call."""
        data_dir, options = self._data_dir, self._options
        store = await stack.enter_async_context(SqliteStore(data_dir / "functions.db"))
        log_store = await stack.enter_async_context(SqliteLogStore(data_dir / "logs.db"))
        queue = await stack.enter_async_context(SqliteEventQueue(data_dir / "events.db"))
        telemetry = await stack.enter_async_context(TelemetryWriter(log_store))
        trimming = asyncio.create_task(keep_trimming(log_store), name="log retention")
        stack.callback(trimming.cancel)
        blobs = FileBlobs(data_dir / "blobs")
        code_cache = CodeCache(data_dir / "code", blobs)
        identity = _Identity(store, root_key.load_or_create(data_dir), is_open=options.auth is Auth.OPEN)
        aws = await stack.enter_async_context(AwsServices(options.endpoints, _operators_signature()))
        aws_endpoint = await stack.enter_async_context(AwsEndpoint(options.endpoints))
        worker = await stack.enter_async_context(self._worker(code_cache, telemetry, identity, aws_endpoint, stack))
        manager = await stack.enter_async_context(
            LocalManager(
                worker,
                account_concurrency=options.account_concurrency,
                idle_timeout_s=options.idle_timeout_s,
                maximum_age_s=options.environment_age_s_maximum,
                is_adaptive=options.keep_alive is KeepAlive.ADAPTIVE,
            )
        )
        giving_back = asyncio.create_task(keep_trimmed(lambda: _is_quiet(manager)), name="memory given back")
        stack.callback(giving_back.cancel)
        urls = UrlDirectory(store)
        resolver = await self._resolver(store, manager, worker, stack)
        stack.callback(store.watch("function/", urls.forget))
        local_api = LocalApi(blobs=blobs, secret=secrets.token_bytes(32), describe=self._describe(manager, worker))
        control = await self._control(store, blobs, worker, local_api, identity, manager.allocation, aws, stack)
        await _begin(store, resolver, urls, control, worker)
        await stack.enter_async_context(control)
        invoker = Invoker(resolver, manager)
        brokers = Brokers(options.brokers, Secrets(options.secrets, aws))
        targets = KafkaTargets(store, brokers, others=HttpTargets(aws))
        events = await self._events(queue, store, invoker, targets, stack)
        gateway = Gateway(
            authenticator=identity.authenticator,
            services=self._services,
            handlers={
                "lambda": control.operations,
                "logs": LogsApi(log_store).operations,
                "sts": identity.sts.operations,
                "iam": identity.iam.operations,
            },
            invoke_api=InvokeApi(invoker, events),
            local_api=local_api,
            serve_url=FunctionUrls(
                directory=urls, invoker=invoker, events=events, authenticator=identity.authenticator
            ).serve,
        )
        aws_endpoint.own = gateway.handle
        limits = Limits(
            body_bytes=2 * REQUEST_BYTES
        )  # the gateway refuses in AWS's words what is only a little too large
        sources = SourcesByKind(HttpSources(aws, store), brokers)
        pollers = await self._pollers(store, queue, invoker, sources, stack)
        local_api.serve_signed("events", EventsApi(events, pollers, identity.authenticator).answer)
        server = await stack.enter_async_context(Server(gateway.handle, limits=limits, name="frontend"))
        return server, (server.drain, events.drain, pollers.drain)

    def _worker(
        self,
        code_cache: CodeCache,
        telemetry: TelemetryWriter,
        identity: _Identity,
        aws_endpoint: AwsEndpoint,
        stack: AsyncExitStack,
    ) -> LocalWorker:
        options = MakerOptions(
            runtime_dirs=self._runtime_dirs,
            interpreters=self._interpreters,
            runtime_fallback=self._options.runtime_fallback.value,
            egress=self._egress.value,
        )
        compiling = asyncio.create_task(compile_client(options.runtime_dirs["python"], self._interpreters))
        stack.callback(compiling.cancel)
        maker = EnvironmentMaker(
            options=options,
            sandboxes=self._sandboxes,
            code_cache=code_cache,
            telemetry=telemetry,
            role_sessions=identity.execution_roles,
            aws_endpoint=aws_endpoint,
        )
        return LocalWorker(self._sandboxes, maker)

    async def _resolver(
        self, store: SqliteStore, manager: LocalManager, worker: LocalWorker, stack: AsyncExitStack
    ) -> Resolver:
        """A function that was written is read again, for manager and worker to hear what has changed."""

        def changed(
            function: FunctionArn, record: FunctionRecord | None, keep: frozenset[str] | None, provisions: Provisions
        ) -> None:
            manager.reserve(function, record.reserved_concurrency if record else None)
            manager.provision(function, provisions, set_aside=provisioned_sum(record) if record else 0)
            if keep is not None:
                manager.retire(function, keep=keep)
            worker.retain_snapshots(function, tuple(map(str, record.versions)) if record else ())
            if keep and record is not None:
                worker.expect(record.latest)

        resolver = Resolver(store, changed)
        group = await stack.enter_async_context(asyncio.TaskGroup())

        async def refresh(key: str) -> None:
            try:
                await resolver.refresh(key)
            except Exception:  # the task's outermost loop: one unreadable record must not end the server
                log.exception("functions.refresh_failed", extra={"key": key})

        def written(key: str) -> None:
            resolver.forget(key)
            group.create_task(refresh(key))

        stack.callback(store.watch("version/", resolver.forget_version))
        stack.callback(store.watch("function/", written))
        return resolver

    async def _events(
        self, queue: SqliteEventQueue, store: SqliteStore, invoker: Invoker, targets: Targets, stack: AsyncExitStack
    ) -> Events:
        events = Events(
            queue,
            store,
            invoker,
            targets,
            concurrency=self._options.account_concurrency,
            new_request_id=new_request_id,
            is_host_busy=_is_host_busy,
        )
        return await stack.enter_async_context(events)

    async def _pollers(
        self, store: SqliteStore, queue: SqliteEventQueue, invoker: Invoker, sources: Sources, stack: AsyncExitStack
    ) -> Pollers:
        around = Surroundings(
            store=store,
            sources=sources,
            ownership=LocalOwnership(),
            outcomes=queue,
            invoke=invoker.invoke,
            resolve=invoker.resolve,
            new_request_id=new_request_id,
        )
        return await stack.enter_async_context(Pollers(around))

    async def _control(
        self,
        store: SqliteStore,
        blobs: FileBlobs,
        worker: LocalWorker,
        local_api: LocalApi,
        identity: _Identity,
        allocation: AllocationOf,
        aws: AwsServices,
        stack: AsyncExitStack,
    ) -> Control:
        code_source = await stack.enter_async_context(
            S3CodeSource(
                self._options.endpoints.get("s3") or self._options.endpoints.get(ANY_SERVICE),
                access_key=os.environ.get("AWS_ACCESS_KEY_ID", ""),
                secret_key=os.environ.get("AWS_SECRET_ACCESS_KEY", ""),
            )
        )
        return Control(
            store=store,
            blobs=blobs,
            code_source=code_source,
            event_sources=HttpEventSources(aws),
            roles=identity.execution_roles,
            activate=worker.prepare,
            snapshots=worker,
            presign=local_api.presign,
            runtimes=_runtime_names(),
            runtime_warning=self._runtime_warning,
            architectures=(_ARCHITECTURES.get(platform.machine(), platform.machine()),),
            concurrency=self._options.account_concurrency,
            code_storage_bytes=self._options.code_storage_bytes,
            allocation=allocation,
        )

    def _runtime_warning(self, runtime: str) -> str | None:
        if runtime.startswith("provided"):
            return None
        found = resolve_runtime(runtime, self._interpreters, self._options.runtime_fallback.value)
        return found.message if isinstance(found, Missing) else None

    def _describe(self, manager: LocalManager, worker: LocalWorker) -> Mapping[str, Callable[[], object]]:
        runtimes = [
            {
                "runtime": one.runtime,
                "version": one.version,
                "executable": str(one.executable),
                "source": one.source,
            }
            for one in self._interpreters
        ]
        return {
            "health": lambda: {"status": "ok"},
            "runtimes": lambda: runtimes,
            "environments": manager.statistics,
            "worker": worker.statistics,
        }


async def _begin(store: Store, resolver: Resolver, urls: UrlDirectory, control: Control, worker: LocalWorker) -> None:
    """Every function that was there before is read once, for all who keep something about it."""
    by_runtime: dict[str | None, FunctionVersion] = {}
    async for record in every_function(store):
        await resolver.begin(record)
        urls.begin(record)
        control.begin(record)
        by_runtime[record.latest.runtime] = record.latest
    for version in by_runtime.values():  # one stands for thousands alike
        worker.expect(version)


def _is_quiet(manager: LocalManager) -> bool:
    """Whether no invoke would have to wait for some ten milliseconds of the event loop's."""
    now = manager.statistics()
    return not (now.busy or now.starting or now.waiting)


def _operators_signature() -> Signer | None:
    """What requests to other services are signed with: the server's own AWS_ACCESS_KEY_ID, if it has one."""
    access_key_id = os.environ.get("AWS_ACCESS_KEY_ID")
    if not access_key_id:
        return None
    return partial(sigv4.sign, sigv4.Credential(access_key_id, os.environ.get("AWS_SECRET_ACCESS_KEY", "")))


def _is_host_busy() -> bool:
    """Whether more want to run at this moment than there are processors for."""
    running = int(Path("/proc/loadavg").read_text().split()[3].partition("/")[0])
    return running > 2 * (os.cpu_count() or 1)


def _runtime_names() -> tuple[str, ...]:
    """What the service model allows as Runtime."""
    return tuple(load_model("lambda").shape_for("Runtime").enum)
