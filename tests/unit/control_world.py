"""A control plane over a memory store, with a clock, ids, packages and activation that the test holds in its hands."""

from __future__ import annotations

import asyncio
import hashlib
import io
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from lambent.adapters.memory.store import MemoryStore
from lambent.control import Control
from lambent.invoke.every_function import every_function
from lambent.model.arn import FunctionArn
from lambent.model.caller import CallerContext
from lambent.model.errors import InvalidParameterValue
from lambent.model.event_source_mapping import EventSourceMapping, mapping_prefix, settled
from lambent.model.function import FunctionVersion
from lambent.model.records import decode_mapping, encode

ROLE = "arn:aws:iam::000000000000:role/any"
ARN = "arn:aws:lambda:eu-west-1:000000000000:function:f"
CALLER = CallerContext(account="000000000000", region="eu-west-1", base_url="http://127.0.0.1:9400")
RUNTIMES = ("nodejs22.x", "python2.7", "python3.12", "python3.13", "provided.al2023")


def zip_of(content: str = "def handler(event, context): ...") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("app.py"), content)  # of no date: equal contents are equal zips
    return buffer.getvalue()


class MemoryBlobs:
    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def put(self, data: bytes) -> str:
        name = hashlib.sha256(data).hexdigest()
        await asyncio.sleep(0)
        self.kept[name] = data
        return name

    async def path(self, name: str) -> Path:
        raise NotImplementedError

    async def delete(self, name: str) -> None:
        await asyncio.sleep(0)
        self.kept.pop(name, None)


class Objects:
    """S3 as the control plane sees it."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str | None], bytes] = {}

    async def fetch(self, bucket: str, key: str, *, version: str | None, region: str) -> bytes:
        try:
            return self.objects[bucket, key, version]
        except KeyError:
            raise InvalidParameterValue("Error occurred while GetObject. S3 Error Code: NoSuchKey.") from None


class AnyRole:
    """IAM where every role trusts Lambda but those in `refused`."""

    def __init__(self) -> None:
        self.refused: set[str] = set()

    async def require_assumable(self, role_arn: str, function: FunctionArn) -> None:
        if role_arn in self.refused:
            raise InvalidParameterValue("The role defined for the function cannot be assumed by Lambda.")


class Sources:
    """Queues and streams, all of which are there; `asked` are the mappings and timeouts they were asked about."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.advice: str | None = None

    async def require_readable(self, mapping: EventSourceMapping, *, function_timeout_s: int) -> str | None:
        self.asked.append((mapping.source_arn or "", function_timeout_s))
        return self.advice


class World:
    def __init__(self) -> None:
        self.roles = AnyRole()
        self.store = MemoryStore()
        self.blobs = MemoryBlobs()
        self.objects = Objects()
        self.sources = Sources()
        self.time = 1_704_067_200.0
        self.ids = 0
        self.may_activate = asyncio.Event()
        self.may_activate.set()
        self.activation_error: Exception | None = None
        self.activated: list[FunctionVersion] = []

    def new_id(self) -> str:
        self.ids += 1
        return f"revision-{self.ids}"

    async def activate(self, version: FunctionVersion) -> None:
        await self.may_activate.wait()
        self.activated.append(version)
        if self.activation_error is not None:
            raise self.activation_error

    @asynccontextmanager
    async def running(self, **options: Any) -> AsyncIterator[World]:
        control = Control(
            store=self.store,
            blobs=self.blobs,
            code_source=self.objects,
            event_sources=self.sources,
            roles=self.roles,
            activate=self.activate,
            presign=lambda path: f"{path}?signed",
            runtimes=RUNTIMES,
            runtime_warning=lambda runtime: "no node here" if runtime.startswith("nodejs") else None,
            now=lambda: self.time,
            new_id=self.new_id,
            **options,
        )
        async for record in every_function(self.store):
            control.begin(record)
        async with control:
            self.control = control
            yield self

    async def call(self, operation: str, caller: CallerContext = CALLER, **members: Any) -> Any:
        answer = await self.control.operations[operation](caller, members)
        return present(answer)

    async def create(self, name: str = "f", **members: Any) -> Any:
        given = {
            "Role": ROLE,
            "Runtime": "python3.12",
            "Handler": "app.handler",
            "Code": {"ZipFile": zip_of()},
            **members,
        }
        wanted = {key: value for key, value in given.items() if value is not None}
        return await self.call("CreateFunction", FunctionName=name, **wanted)

    async def created(self, name: str = "f", **members: Any) -> Any:
        """Create a function, wait until it is active, and return its configuration."""
        await self.create(name, **members)
        await self.settled()
        return await self.call("GetFunctionConfiguration", FunctionName=name)

    async def settled(self) -> None:
        """Wait for every activation of a function that is under way."""
        while tasks := self.control._activations._tasks:
            await asyncio.wait(tasks)

    async def polled(self) -> None:
        """Settle every change of a mapping that is under way, as who polls does."""
        for entry in await self.store.scan(mapping_prefix()):
            after = settled(decode_mapping(entry.value))
            if after is None:
                await self.store.delete(entry.key, expected=entry.revision)
            else:
                await self.store.put(entry.key, encode(after), expected=entry.revision)


def present(answer: Any) -> Any:
    """The answer without its None members, as it goes over the wire."""
    if isinstance(answer, dict):
        return {key: present(value) for key, value in answer.items() if value is not None}
    return answer
