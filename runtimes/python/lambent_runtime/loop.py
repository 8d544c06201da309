"""The life of a runtime: load the handler, then serve one invocation after the other until the platform goes."""

from __future__ import annotations

import os
import sys
import types

from lambent_runtime import log, payload
from lambent_runtime.client import Invocation, RuntimeClient
from lambent_runtime.connection import ConnectionLost
from lambent_runtime.context import LambdaContext, environment_facts
from lambent_runtime.handler import StreamingCall, load_handler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    Handler = Callable[[object, object], object]

TRACE_ID = "_X_AMZN_TRACE_ID"
_STREAMED = (types.GeneratorType, types.AsyncGeneratorType, StreamingCall)


def main() -> NoReturn:
    """Be the runtime of this process, as its environment variables say. Does not return."""
    try:
        import lambent_runtime.prologue  # noqa: F401 - imported for what it does, unless a zygote has done it

        log.await_logging()
        client = RuntimeClient(os.environ["AWS_LAMBDA_RUNTIME_API"])
        handler = _load_or_exit(client)
        if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
            from lambent_runtime import snapshot

            client = snapshot.take(client)
        serve(handler, client)
    except ConnectionLost:
        log.flush()
        os._exit(1)  # not sys.exit: threads of the function must not outlive the platform


def serve(handler: Handler, client: RuntimeClient) -> NoReturn:
    """Hand every invocation to the handler.

    An exception is the invocation's answer; what is no `Exception`, such as SystemExit, ends the process.
    """
    facts = environment_facts()
    client.ask_next()
    while True:
        # Nothing of an invocation is named here, so that its payloads are free while waiting for the next.
        invoke(handler, client, client.receive(), facts)


def invoke(handler: Handler, client: RuntimeClient, invocation: Invocation, facts: dict[str, object]) -> None:
    """One invocation, from the event to the answer."""
    headers = invocation.headers
    log.current.request_id = invocation.request_id
    log.current.tenant_id = headers.get("lambda-runtime-aws-tenant-id")
    _set_trace_id(headers.get("lambda-runtime-trace-id"))
    try:
        context = LambdaContext(headers, facts)
        event = payload.decode_event(invocation.body, headers.get("content-type", ""))
        result = handler(event, context)
        if isinstance(result, _STREAMED):
            from lambent_runtime import streaming

            streaming.respond(client, invocation, result)
            return
        body, content_type = payload.encode_result(result)
    except Exception as exc:
        _fail(client, invocation, exc)
    else:
        log.flush()
        client.respond(invocation, body, content_type)


def _fail(client: RuntimeClient, invocation: Invocation, exc: Exception) -> None:
    from lambent_runtime.errors import ErrorReport

    report = ErrorReport(exc, invocation.request_id)
    report.write_to_log()
    log.flush()
    if client.is_streaming:
        client.end_stream(report.trailers())
    else:
        client.fail(invocation, report.body(), report.headers())


def _load_or_exit(client: RuntimeClient) -> Handler:
    try:
        return load_handler(os.environ.get("_HANDLER", ""))
    except Exception as exc:
        from lambent_runtime import errors

        report = errors.ErrorReport(exc)
        errors.log_init_advice()
        report.write_to_log()
        log.flush()
        client.post_init_error(report.body(), report.headers())
        sys.exit(1)


def _set_trace_id(trace_id: str | None) -> None:
    """Into the environment, as on AWS: for processes that the function starts, too, where the trace is sampled.

    The C library never forgets a value it was given, so what nobody samples is told to Python alone.
    """
    if trace_id and "Sampled=1" in trace_id:
        os.environ[TRACE_ID] = trace_id
    elif trace_id and hasattr(os.environ, "_data"):
        os.environ._data[os.environ.encodekey(TRACE_ID)] = os.environ.encodevalue(trace_id)  # type: ignore[attr-defined]
    else:
        os.environ.pop(TRACE_ID, None)
