"""The end of an environment: nothing of it stays, and nobody has to look for what refers to itself."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import time
from collections.abc import Sequence

from function_versions import function_version
from lambent.adapters.memory.log_store import MemoryLogStore
from lambent.logs.writer import TelemetryWriter
from lambent.model.events import InitializationType
from lambent.model.invocation import EnvironmentId
from lambent.ports.telemetry import LogStream
from lambent.worker.environment import Environment, Notices
from lambent.worker.event_stream import EventStream
from lambent.worker.extensions_api import ExtensionsApi
from lambent.worker.launch import RUNTIME, Launch
from lambent.worker.output import Output
from lambent.worker.processes import Processes
from lambent.worker.reporter import Reporter
from lambent.worker.sandbox import wire
from lambent.worker.sandbox.plan import ProcessPlan, SandboxPlan
from lambent.worker.sandbox.sandbox import Sandbox
from lambent.worker.telemetry_api import TelemetryApi

_PROCESS = ProcessPlan(name=RUNTIME, argv=("/bin/true",), env={}, cwd="/")
_PLAN = SandboxPlan(
    sandbox_id="a",
    code_dir="/code",
    runtime_dir="/runtime",
    memory_mib=128,
    cpu_share=1.0,
    pids_maximum=64,
    ephemeral_storage_mib=512,
    egress="none",
    processes=(_PROCESS,),
)
_PARTS = (Environment, Sandbox, EventStream, ExtensionsApi, TelemetryApi, Processes, Reporter, Output)


class Sandboxd:
    """Does at once what it is told."""

    def __init__(self) -> None:
        self.sandbox: Sandbox | None = None

    def send(self, message: wire.Message, descriptors: Sequence[int] = ()) -> None:
        sandbox = self.sandbox
        assert sandbox is not None
        if isinstance(message, wire.Kill):
            sandbox.hear(wire.Died(sandbox_id=sandbox.id))
        elif isinstance(message, wire.Destroy):
            self.sandbox = None
            sandbox.hear(wire.Destroyed(sandbox_id=sandbox.id))

    def create(self) -> Sandbox:
        output, written = os.pipe()
        os.close(written)
        files = {"listener": socket.socket().detach(), "endpoint": socket.socket().detach(), "output": output}
        self.sandbox = Sandbox(self.send, _PLAN, files, "127.0.0.1:9001")
        return self.sandbox


def _environment(log: LogStream, notices: Notices) -> Environment:
    version, sandbox, stream = function_version(), Sandboxd().create(), EventStream(log)
    extensions = ExtensionsApi(version, ())
    return Environment(
        environment_id=EnvironmentId("e"),
        version=version,
        sandbox=sandbox,
        launch=Launch(runtime=_PROCESS),
        extensions=extensions,
        telemetry=TelemetryApi(extensions, stream, sandbox.connect, has_json_lines=False),
        processes=Processes(sandbox, extensions, None),
        reporter=Reporter(
            instance_id="e",
            version=version,
            initialization_type=InitializationType.ON_DEMAND,
            runtime_version=None,
            stream=stream,
            outputs=[Output(sandbox.output_fd, stream)],
            memory_peak_bytes=sandbox.memory_peak_bytes,
        ),
        notices=notices,
    )


def _held() -> list[str]:
    return [type(one).__name__ for one in gc.get_objects() if isinstance(one, _PARTS)]


async def test_nothing_of_it_waits_for_python_to_look_for_circles() -> None:
    gone = asyncio.Event()
    notices = Notices(
        responded=lambda environment_id: None,
        settled=lambda environment_id, is_warm: None,
        gone=lambda environment_id: gone.set(),
    )
    async with TelemetryWriter(MemoryLogStore()) as writer:
        gc.collect()
        gc.disable()
        try:
            environment = _environment(writer.open(function_version(), "s"), notices)
            environment.begin(started=time.perf_counter())
            assert sorted(_held()) == sorted(part.__name__ for part in _PARTS)
            environment.stop()
            await gone.wait()
            del environment
            await asyncio.sleep(0)  # its last chore returns
            assert set(_held()) <= {"Sandbox"}  # whose share of the CPU was to be looked after for a while
        finally:
            gc.enable()
