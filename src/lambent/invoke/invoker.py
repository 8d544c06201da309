"""The one way to run an invocation; every caller (API, and later events, pollers, URLs) comes through here."""

from __future__ import annotations

from msgspec.structs import replace

from lambent.invoke.resolve import Resolver
from lambent.invoke.tracing import Tracing
from lambent.model.arn import FunctionArn
from lambent.model.invocation import InvokeRequest, InvokeResult, Target
from lambent.model.response_stream import ResponseStream
from lambent.ports.manager import Manager


class Invoker:
    def __init__(self, resolver: Resolver, manager: Manager) -> None:
        self._resolver = resolver
        self._manager = manager
        self._tracing = Tracing()

    async def resolve(self, function: FunctionArn) -> Target:
        """What `invoke` would run; raises as `Resolver.resolve`. A dry run is this and nothing more."""
        return await self._resolver.resolve(function)

    async def invoke(self, request: InvokeRequest) -> InvokeResult:
        """Run one invocation and return its outcome; never retries.

        Raises:
            ResourceNotFound, ResourceConflict: the function cannot be invoked.
            TooManyRequests: no concurrency or no room is left.
            PlatformError: Lambent itself failed.
        """
        target = await self._resolver.resolve(request.function)
        async with self._manager.lease(target) as lease:
            result = await lease.invoke(self._traced(request, target))
        assert isinstance(result, InvokeResult)  # streams go to those who want one
        return result

    async def stream(self, request: InvokeRequest) -> InvokeResult | ResponseStream:
        """As `invoke`, for a request that wants a stream: it gets one if the function streams."""
        target = await self._resolver.resolve(request.function)
        async with self._manager.lease(target) as lease:
            return await lease.invoke(self._traced(request, target))

    def _traced(self, request: InvokeRequest, target: Target) -> InvokeRequest:
        return replace(request, trace_id=self._tracing.header(request.trace_id, target.version))
