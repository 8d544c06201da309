"""Telling of a failure: the document for the caller, the line for the log, the cause for X-Ray.

Imported only when something has failed.
"""

from __future__ import annotations

import binascii
import json
import os
import time
import traceback

from lambent_runtime import log, payload
from lambent_runtime.fault import Fault

_OWN_DIR = os.path.dirname(os.path.abspath(__file__))
_XRAY_CAUSE_BYTES = 64 * 1024
_NO_BREAK_SPACE = "\u00a0"  # the log's viewers strip plain spaces at the start of a line


class ErrorReport:
    """What there is to say about an exception.

    `frames` are (file, line, function, source) as in a traceback, outermost first, without this client's own.
    """

    def __init__(self, exc: BaseException, request_id: str = "") -> None:
        self.message = str(exc)
        self.request_id = request_id
        if isinstance(exc, Fault):
            self.error_type, self.xray_type = exc.error_type, "LambdaValidationError"
            self.frames: list[tuple[str, int, str, str]] = []
            self.stack_trace = list(exc.stack_trace)
        else:
            self.error_type = self.xray_type = type(exc).__name__
            self.frames = _frames(exc)
            self.stack_trace = traceback.format_list(self.frames)

    def document(self) -> dict[str, object]:
        return {
            "errorMessage": self.message,
            "errorType": self.error_type,
            "requestId": self.request_id,
            "stackTrace": self.stack_trace,
        }

    def body(self) -> bytes:
        return payload.dumps(self.document())

    def headers(self) -> str:
        """The header lines of an error post. A cause that is too long for a header is left out."""
        lines = f"Content-Type: application/json\r\nLambda-Runtime-Function-Error-Type: {self.error_type}\r\n"
        cause = self._xray_cause()
        if len(cause) <= _XRAY_CAUSE_BYTES:
            lines += f"Lambda-Runtime-Function-XRay-Error-Cause: {cause}\r\n"
        return lines

    def trailers(self) -> str:
        """What ends a response that had begun well."""
        body = binascii.b2a_base64(self.body(), newline=False).decode()
        return (
            f"Lambda-Runtime-Function-Error-Type: {self.error_type}\r\nLambda-Runtime-Function-Error-Body: {body}\r\n"
        )

    def write_to_log(self) -> None:
        if log.is_json():
            stamp = {"timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "level": "ERROR"}
            log.write_event(payload.dumps({**stamp, **self.document()}).decode())
        else:
            log.write_event("\r".join(self._log_lines()))

    def _log_lines(self) -> list[str]:
        lines = [f"[ERROR] {self.error_type}" + (f": {self.message}" if self.message else "")]
        lines.append("Traceback (most recent call last):")
        for line in [part for entry in self.stack_trace for part in entry.splitlines()]:
            text = line.lstrip(" ")
            lines.append(_NO_BREAK_SPACE * (len(line) - len(text)) + text)
        return lines

    def _xray_cause(self) -> str:
        stack = [{"label": label, "path": path, "line": line} for path, line, label, _ in self.frames]
        cause = {
            "working_directory": os.getcwd(),
            "exceptions": [{"message": self.message, "type": self.xray_type, "stack": stack}],
            "paths": sorted({path for path, *_ in self.frames}),
        }
        return json.dumps(cause)


def log_init_advice() -> None:
    """Say what AWS says ahead of a failed Init: that it is the function's code, or else a change of the runtime."""
    import logging

    logging.warning(
        "LAMBDA_WARNING: Unhandled exception. Most likely the function's code is at fault. If it began to fail without "
        "a change of its own, compare the runtime version in the INIT_START line with that of an earlier start: "
        "the interpreter it runs on may have been updated."
    )


def _frames(exc: BaseException) -> list[tuple[str, int, str, str]]:
    """The traceback as plain tuples, so that it prints alike on every Python (no carets under the source)."""
    frames = [(f.filename, f.lineno or 0, f.name, f.line or "") for f in traceback.extract_tb(exc.__traceback__)]
    while frames and frames[0][0].startswith(_OWN_DIR):
        del frames[0]
    return frames
