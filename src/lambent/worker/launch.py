"""From a function version to what must be started for it: extensions and runtime, or the reason why it cannot run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from lambent.model.errors import FunctionError
from lambent.model.function import FunctionVersion
from lambent.worker.extensions import EXTENSIONS_MAXIMUM
from lambent.worker.node_flags import node_flags
from lambent.worker.runtimes import Interpreter
from lambent.worker.sandbox.plan import ProcessPlan
from lambent.worker.variables import extension_variables

RUNTIME = "runtime"
"""Name of the process whose end ends the environment's generation."""

EXTENSION_PREFIX = "extension:"
"""Names of the processes of external extensions begin with this; the rest is the name of the file."""

_BOOTSTRAPS = ("/var/task/bootstrap", "/opt/bootstrap")


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What each generation of an environment is made of."""

    runtime: ProcessPlan | FunctionError
    extensions: tuple[ProcessPlan, ...] = ()

    @property
    def at_boot(self) -> tuple[ProcessPlan, ...]:
        """What the sandbox starts as soon as it stands: the runtime, unless it must wait for extensions to register."""
        return () if self.extensions or isinstance(self.runtime, FunctionError) else (self.runtime,)


def plan_launch(
    runtime: ProcessPlan | FunctionError, extensions: Sequence[str], variables: Mapping[str, str]
) -> Launch:
    """Runtime and external extensions, which are started in the order given."""
    if len(extensions) > EXTENSIONS_MAXIMUM:
        return Launch(runtime=FunctionError("Extension.LaunchError", f"Extension limit ({EXTENSIONS_MAXIMUM}) reached"))
    env = extension_variables(variables)
    processes = (
        ProcessPlan(name=extension_process_name(name), argv=(f"/opt/extensions/{name}",), env=env, cwd="/")
        for name in extensions
    )
    return Launch(runtime=runtime, extensions=tuple(processes))


def extension_process_name(name: str) -> str:
    return EXTENSION_PREFIX + name


def external_extensions(layer_dirs: Sequence[Path]) -> list[str]:
    """Names of all files directly in /opt/extensions, in order; whether they can be executed shows when they are."""
    directories = [layer / "extensions" for layer in layer_dirs if (layer / "extensions").is_dir()]
    files = (one for directory in directories for one in directory.iterdir() if one.is_symlink() or not one.is_dir())
    return sorted({one.name for one in files})


def is_os_only(version: FunctionVersion) -> bool:
    return version.runtime is not None and version.runtime.startswith("provided")


def exec_wrapper(version: FunctionVersion) -> str | None:
    """The program that a managed runtime's interpreter is to be started by; such a function is never forked."""
    return (version.environment or {}).get("AWS_LAMBDA_EXEC_WRAPPER") or None


@lru_cache(maxsize=1_024)
def interpreter_argv(interpreter: Interpreter, memory_mib: int, node_options: str) -> tuple[str, ...]:
    """The command line of our own runtime client."""
    executable, *arguments = interpreter.argv_inside
    flags = node_flags(interpreter, memory_mib, node_options) if interpreter.language == "nodejs" else ()
    return executable, *flags, *arguments


def managed_process(
    version: FunctionVersion,
    interpreter: Interpreter,
    variables: dict[str, str],
    *,
    zygote: str | None,
    is_prewarmed: bool,
) -> ProcessPlan:
    """Our own runtime client on an interpreter of this host."""
    argv = interpreter_argv(interpreter, version.memory_mib, variables.get("NODE_OPTIONS", ""))
    wrapper = exec_wrapper(version)
    if wrapper is not None:  # by way of a shell: what is not there or may not run is an exit status, as on AWS
        argv = ("/bin/sh", "-c", 'exec "$0" "$@"', wrapper, *argv)
    return ProcessPlan(
        name=RUNTIME, argv=argv, env=variables, cwd="/var/task", zygote=zygote, is_prewarmed=is_prewarmed
    )


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
