"""From a function version to what must be started for it: the processes, or the reason why there can be none."""

from __future__ import annotations

from collections.abc import Sequence
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


def exec_wrapper(version: FunctionVersion) -> str | None:
    """The program that a managed runtime's interpreter is to be started by; such a function is never forked."""
    return (version.environment or {}).get("AWS_LAMBDA_EXEC_WRAPPER") or None


def managed_process(version: FunctionVersion, interpreter: Interpreter, variables: dict[str, str]) -> ProcessPlan:
    """Our own runtime client on an interpreter of this host."""
    argv: tuple[str, ...] = (interpreter.argv0_inside, "-S", "/var/runtime/bootstrap.py")
    wrapper = exec_wrapper(version)
    if wrapper is not None:  # by way of a shell: what is not there or may not run is an exit status, as on AWS
        argv = ("/bin/sh", "-c", 'exec "$0" "$@"', wrapper, *argv)
    return ProcessPlan(name=RUNTIME, argv=argv, env=variables, cwd="/var/task")


def custom_process(
    code_dir: Path, layer_dirs: Sequence[Path], variables: dict[str, str]
) -> ProcessPlan | FunctionError:
    """The customer's own executable. Modes are judged here, so that the answer is AWS's and not an exit status."""
    places = [(code_dir, _BOOTSTRAPS[0]), *((layer, _BOOTSTRAPS[1]) for layer in reversed(layer_dirs))]
    found = next((place for place in places if (place[0] / "bootstrap").is_file()), None)
    if found is None:
        return FunctionError(
            "Runtime.InvalidEntrypoint", f"Couldn't find valid bootstrap(s): [{' '.join(_BOOTSTRAPS)}]"
        )
    directory, bootstrap = found
    if not (directory / "bootstrap").stat().st_mode & 0o001:
        return FunctionError("Runtime.InvalidEntrypoint", f"fork/exec {bootstrap}: permission denied")
    return ProcessPlan(name=RUNTIME, argv=(bootstrap,), env=variables, cwd="/var/task")
