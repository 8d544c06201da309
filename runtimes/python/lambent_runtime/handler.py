"""Finding the function: from `pkg/module.function` to something that can be called."""

from __future__ import annotations

import importlib
import os
import sys

from lambent_runtime.fault import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any  # a handler is whatever its module holds

_VARKEYWORDS = 0x08  # of a code object's flags: the function takes `**keywords`


class StreamingCall:
    """A call still to be made, of a handler that writes its response to a stream."""

    __slots__ = ("context", "event", "handler")

    def __init__(self, handler: Callable[..., object], event: object, context: object) -> None:
        self.handler = handler
        self.event = event
        self.context = context


def arrange_path(runtime_dir: str) -> None:
    """Put the function's code first, then its layers, the standard library, and what the platform brings last."""
    task_root = os.environ.get("LAMBDA_TASK_ROOT", "/var/task")
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    sdk = os.path.join(runtime_dir, "site-packages")
    first = [task_root, f"/opt/python/lib/{version}/site-packages", "/opt/python"]
    last = [runtime_dir, sdk] if os.path.isdir(sdk) else [runtime_dir]
    sys.path[:] = first + [entry for entry in sys.path if entry not in first + last] + last


def load_handler(name: str) -> Callable[[object, object], object]:
    """Import the module of `name` (everything before its last dot) and take the function from it.

    Raises:
        Fault: there is no such thing, with AWS's error type; whatever else the module raises comes through as it is.
    """
    module_name, dot, function_name = name.rpartition(".")
    if not dot:
        reason = "not enough values to unpack (expected 2, got 1)"
        raise Fault("Runtime.MalformedHandlerName", f"Bad handler '{name}': {reason}")
    if module_name.split(".")[0] in sys.builtin_module_names:
        message = f"Cannot use built-in module {module_name} as a handler module"
        raise Fault("Runtime.BuiltInModuleConflict", message)
    module = _import(module_name)
    try:
        handler = getattr(module, function_name)
    except AttributeError:
        message = f"Handler '{function_name}' missing on module '{module_name}'"
        raise Fault("Runtime.HandlerNotFound", message) from None
    if _takes_stream(handler):
        return lambda event, context: StreamingCall(handler, event, context)
    return handler  # type: ignore[no-any-return]


def _takes_stream(handler: Any) -> bool:
    """Whether it has a parameter of the name `response_stream`, or hands its keywords on to a function that has."""
    if not callable(handler):
        return False
    code = getattr(handler, "__code__", None) or getattr(handler.__call__, "__code__", None)
    if code is None:
        return False
    if "response_stream" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
        return True
    wrapped = getattr(handler, "__wrapped__", None)
    return bool(wrapped is not None and code.co_flags & _VARKEYWORDS and _takes_stream(wrapped))


def _import(name: str) -> object:
    try:
        return importlib.import_module(name.replace("/", "."))
    except ImportError as exc:
        raise Fault("Runtime.ImportModuleError", f"Unable to import module '{name}': {exc}") from exc
    except SyntaxError as exc:
        place = f'  File "{exc.filename}" Line {exc.lineno}\n    {exc.text}'
        raise Fault("Runtime.UserCodeSyntaxError", f"Syntax error in module '{name}': {exc}", (place,)) from exc
