"""From a function version to what must be started for it: the processes, or the reason why there can be none."""

from __future__ import annotations

from pathlib import Path

from lambent.model.errors import FunctionError
from lambent.model.function import FunctionVersion
from lambent.worker.runtimes import Interpreter
from lambent.worker.sandbox.plan import ProcessPlan

RUNTIME = "runtime"
"""Name of the process whose end ends the environment's generation."""

_BOOTSTRAPS = ("/var/task/bootstrap", "/opt/bootstrap")


def is_os_only(version: FunctionVersion) -> bool:
    return version.runtime is not None and version.runtime.startswith("provided")


def managed_process(interpreter: Interpreter, variables: dict[str, str]) -> ProcessPlan:
    """Our own runtime client on an interpreter of this host."""
    argv = (interpreter.argv0_inside, "-S", "/var/runtime/bootstrap.py")
    return ProcessPlan(name=RUNTIME, argv=argv, env=variables, cwd="/var/task")


def custom_process(code_dir: Path, variables: dict[str, str]) -> ProcessPlan | FunctionError:
    """The customer's own executable. Modes are judged here, so that the answer is AWS's and not an exit status."""
    bootstrap = code_dir / "bootstrap"
    if not bootstrap.is_file():
        return FunctionError(
            "Runtime.InvalidEntrypoint", f"Couldn't find valid bootstrap(s): [{' '.join(_BOOTSTRAPS)}]"
        )
    if not bootstrap.stat().st_mode & 0o001:
        return FunctionError("Runtime.InvalidEntrypoint", f"fork/exec {_BOOTSTRAPS[0]}: permission denied")
    return ProcessPlan(name=RUNTIME, argv=(_BOOTSTRAPS[0],), env=variables, cwd="/var/task")
