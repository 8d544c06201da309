"""The one way to run an invocation; every caller (API, events, and later pollers and URLs) comes through here."""

from __future__ import annotations

from msgspec.structs import replace

from lambent.invoke import recursion
from lambent.invoke.resolve import Resolver
from lambent.invoke.tracing import Tracing
from lambent.model.arn import FunctionArn
from lambent.model.invocation import InvokeRequest, InvokeResult, Target
from lambent.model.response_stream import ResponseStream
from lambent.ports.manager import Manager
from lambent.ports.worker import Answer


class Invoker:
    def __init__(self, resolver: Resolver, manager: Manager) -> None:
        self._resolver = resolver
        self._manager = manager
        self._tracing = Tracing()

    async def resolve(self, function: FunctionArn) -> Target:
        """What `invoke` would run; raises as `Resolver.resolve`. A dry run is this and nothing more."""
        return await self._resolver.resolve(function)

    def trace_header(self, request: InvokeRequest, target: Target) -> str:
        """The caller's, completed; or a new one."""
        return self._tracing.header(request.trace_id, target.version)

    def invoke_nowait(self, request: InvokeRequest, answer: Answer) -> bool:
        """Begin an invocation that has nothing to wait for, as in steady use; False: it has, use `invoke` or `stream`.

        Raises as `invoke`.
        """
        target = self._resolver.known(request.function)
        return target is not None and self._manager.invoke_nowait(target, self._traced(request, target), answer)

    async def invoke(self, request: InvokeRequest) -> InvokeResult:
        """Run one invocation and return its outcome; never retries.

        Raises:
            ResourceNotFound, ResourceConflict: the function cannot be invoked.
            RecursiveInvocation: it goes on invoking itself.
            TooManyRequests: no concurrency or no room is left.
            PlatformError: Lambent itself failed.
        """
        target = await self._admitted(request)
        async with self._manager.lease(target) as lease:
            result = await lease.invoke(self._traced(request, target))
        assert isinstance(result, InvokeResult)  # streams go to those who want one
        return result

    async def stream(self, request: InvokeRequest) -> InvokeResult | ResponseStream:
        """As `invoke`, for a request that wants a stream: it gets one if the function streams."""
        target = await self._admitted(request)
        async with self._manager.lease(target) as lease:
            return await lease.invoke(self._traced(request, target))

    async def _admitted(self, request: InvokeRequest) -> Target:
        target = await self._resolver.resolve(request.function)
        if not request.is_event:
            self._manager.admit(target.version.arn)
        return target

    def _traced(self, request: InvokeRequest, target: Target) -> InvokeRequest:
        """The request as the function will see it: with a trace, in which this invocation is counted.

        Raises:
            RecursiveInvocation: the chain of requests has come back to the function too often.
        """
        function = target.version.arn
        trace_id, loops = recursion.extend(self.trace_header(request, target), function)
        if loops >= recursion.INVOCATIONS_MAXIMUM and not target.may_loop:
            raise recursion.refusal(function)
        return replace(request, trace_id=trace_id)
