"""The one exception of this client that functions' callers see: a failure AWS has a name for."""

from __future__ import annotations


class Fault(Exception):
    """`error_type` is AWS's word, e.g. `Runtime.HandlerNotFound`; `stack_trace` reads like a traceback's entries."""

    def __init__(self, error_type: str, message: str, stack_trace: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.message = message
        self.stack_trace = stack_trace
