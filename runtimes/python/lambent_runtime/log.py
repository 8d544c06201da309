"""What a function writes: standard output and error, and the moment `logging` comes into play.

Output goes to pipes that the platform splits into log events at every newline. Lines are written whole: one system
call (and one wake-up of the reader) per line, not one per `write`.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType


class Current:
    """The invocation that log records belong to; empty during Init."""

    __slots__ = ("request_id", "tenant_id")

    def __init__(self) -> None:
        self.request_id = ""
        self.tenant_id: str | None = None


current = Current()


def is_json() -> bool:
    return os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"


def await_logging() -> None:
    """Make `logging` ready, as soon as the function imports it."""
    if "logging" in sys.modules:
        _configure_logging()
    else:
        sys.meta_path.insert(0, _LoggingFinder)


def write_event(text: str) -> None:
    """Write one log event; newlines inside become carriage returns, as in AWS's own logs, so that it stays one."""
    sys.stdout.write(text.rstrip("\n").replace("\n", "\r") + "\n")


def flush() -> None:
    """Let go of an unfinished last line, so that it is out before the invocation is answered."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass  # the function has closed or replaced it; the invocation is answered all the same


def _configure_logging() -> None:
    from lambent_runtime import log_handler

    log_handler.configure()


class _LoggingFinder:
    """Gives `logging` AWS's handler the moment it is first imported: functions that never log never pay for it."""

    @classmethod
    def find_spec(cls, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name != "logging":
            return None
        sys.meta_path.remove(cls)
        spec = PathFinder.find_spec(name, [os.path.dirname(os.__file__)])
        assert spec is not None
        assert spec.loader is not None
        execute = spec.loader.exec_module

        def execute_and_configure(module: ModuleType) -> None:
            execute(module)
            _configure_logging()

        spec.loader.exec_module = execute_and_configure  # type: ignore[method-assign]
        return spec
