"""Finding the function: from `pkg/module.function` to something that can be called."""

from __future__ import annotations

import importlib
import os
import sys

from lambent_runtime.fault import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


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
        return getattr(module, function_name)  # type: ignore[no-any-return]
    except AttributeError:
        message = f"Handler '{function_name}' missing on module '{module_name}'"
        raise Fault("Runtime.HandlerNotFound", message) from None


def _import(name: str) -> object:
    try:
        return importlib.import_module(name.replace("/", "."))
    except ImportError as exc:
        raise Fault("Runtime.ImportModuleError", f"Unable to import module '{name}': {exc}") from exc
    except SyntaxError as exc:
        place = f'  File "{exc.filename}" Line {exc.lineno}\n    {exc.text}'
        raise Fault("Runtime.UserCodeSyntaxError", f"Syntax error in module '{name}': {exc}", (place,)) from exc
