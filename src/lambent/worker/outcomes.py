"""How a failed invocation is worded: to the caller as JSON, to the log as a line (reference/lifecycle.md §3, §5)."""

from __future__ import annotations

import json
import re
import signal
from datetime import UTC, datetime

from lambent.model.errors import FunctionError, SnapStartError, SnapStartTimeout
from lambent.model.limits import INVOKE_RESPONSE_BYTES
from lambent.worker.lifecycle import TIMED_OUT

RESPONSE_TOO_LARGE = "Function.ResponseSizeTooLarge"
RESPONSE_TRUNCATED = "Runtime.TruncatedResponse"
INVALID_RESPONSE_MODE = "Runtime.InvalidResponseModeHeader"
EXITED_SILENTLY = "Runtime exited without providing a reason"

_ERROR_TYPE = re.compile(r"(?:Runtime|Function)\.[A-Z][a-zA-Z]+")

_SIGNAL_NAMES: dict[int, str] = {
    signal.SIGABRT: "aborted",
    signal.SIGBUS: "bus error",
    signal.SIGFPE: "floating point exception",
    signal.SIGHUP: "hangup",
    signal.SIGILL: "illegal instruction",
    signal.SIGINT: "interrupt",
    signal.SIGKILL: "killed",
    signal.SIGPIPE: "broken pipe",
    signal.SIGQUIT: "quit",
    signal.SIGSEGV: "segmentation fault",
    signal.SIGSYS: "bad system call",
    signal.SIGTERM: "terminated",
    signal.SIGTRAP: "trace/breakpoint trap",
    signal.SIGXCPU: "CPU time limit exceeded",
}


def normalize_error_type(given: str | None) -> str:
    """What a runtime says of its error, as the platform repeats it in telemetry (runtime-api.md §2.3)."""
    if given is None:
        return "Runtime.Unknown"
    if _ERROR_TYPE.fullmatch(given):
        return given
    return "Function.Unknown" if given.startswith("Function.") else "Runtime.Unknown"


def exit_reason(*, code: int | None, signum: int | None) -> str:
    """AWS's words for how a runtime ended; a clean exit is no reason at all."""
    if signum is None and not code:
        return EXITED_SILENTLY
    return f"Runtime exited with error: {_ending(code, signum)}"


def extension_exit_reason(*, code: int | None, signum: int | None) -> str:
    """The same for an extension, which may not end by itself however clean it is."""
    return "exit code 0" if signum is None and not code else _ending(code, signum)


def _ending(code: int | None, signum: int | None) -> str:
    if signum is None:
        return f"exit status {code}"
    return f"signal: {_SIGNAL_NAMES.get(signum, f'signal {signum}')}"


def failure_message(error_type: str, reason: str | None, *, request_id: str, timeout_s: int) -> str:
    if error_type == TIMED_OUT:
        return f"RequestId: {request_id} Error: Task timed out after {timeout_s:.2f} seconds"
    return f"RequestId: {request_id} Error: {reason}"


def failure_payload(error_type: str, message: str) -> bytes:
    """The Invoke payload of a failure that the runtime could not report itself."""
    return json.dumps({"errorType": error_type, "errorMessage": message}, separators=(",", ":")).encode()


def error_message(payload: bytes) -> str:
    """The message in an error that a runtime has reported, or all of it where it has no such form."""
    try:
        document = json.loads(payload)
    except ValueError:
        document = None
    message = document.get("errorMessage") if isinstance(document, dict) else None
    return message if isinstance(message, str) else payload.decode(errors="replace")


def restore_error(failure: FunctionError) -> SnapStartError | SnapStartTimeout:
    """What the caller is told of an environment that could not be made from its snapshot."""
    if failure.error_type == TIMED_OUT:
        return SnapStartTimeout(f"The function could not be restored from its snapshot in time. {failure.message}")
    return SnapStartError(f"The function could not be restored from its snapshot. {failure}")


def failure_line(error_type: str, message: str, *, now: float, request_id: str, timeout_s: int) -> str:
    """The line the platform logs for it; a timeout has its own form."""
    if error_type == TIMED_OUT:
        stamp = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return f"{stamp} {request_id} Task timed out after {timeout_s:.2f} seconds\n"
    return f"{message}\n{error_type}"


def response_too_large(limit_bytes: int = INVOKE_RESPONSE_BYTES) -> bytes:
    return failure_payload(
        RESPONSE_TOO_LARGE, f"Response payload size exceeded maximum allowed payload size ({limit_bytes} bytes)."
    )
