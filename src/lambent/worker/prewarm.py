"""Which interpreter may wait for a function, started before anybody has asked for it: one that nobody could tell from a
fresh start.

It was started with settings, and the loader has looked for libraries, before the function was there. A function that
sets such a setting otherwise, or brings libraries where none were, is executed instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lambent.model.function import FunctionVersion
from lambent.worker.launch import exec_wrapper, interpreter_argv
from lambent.worker.runtimes import Interpreter
from lambent.worker.sandbox.plan import RUNTIME_API_ADDRESS, Prewarmed
from lambent.worker.variables import startup_variables

_READ_AT_START = ("NODE_", "LD_", "LC_", "LANG", "MALLOC_", "GLIBC_", "LOCPATH", "OPENSSL_", "SSL_CERT_", "UV_", "ICU_")
"""How variables begin that the loader, libc, the interpreter or a library of its own reads once and for all."""
_READ_LATER = frozenset({"NODE_ENV"})
_WAITING = "/var/runtime/spare.cjs"
"""What starts our runtime client in place of its usual first file."""


def plan_prewarmed(version: FunctionVersion, interpreter: Interpreter, runtime_dir: Path) -> Prewarmed | None:
    """What may wait for the version, as far as can be told from its configuration; None if it must be executed.

    The heap of Node.js is bounded at its start, so there is one for every memory size.
    """
    if interpreter.language != "nodejs" or exec_wrapper(version) is not None:
        return None
    variables = startup_variables(version.runtime)
    if _sets_otherwise(version.environment or {}, variables):
        return None
    *command, _ = interpreter_argv(interpreter, version.memory_mib, "")
    return Prewarmed(
        argv=(*command, _WAITING),
        env=(*sorted(variables.items()), ("AWS_LAMBDA_RUNTIME_API", RUNTIME_API_ADDRESS)),
        runtime_dir=str(runtime_dir),
        language_dir=str(interpreter.language_dir) if interpreter.language_dir else None,
    )


def choose_prewarmed(
    version: FunctionVersion, interpreter: Interpreter, runtime_dir: Path, code_dir: Path, layer_dirs: Sequence[Path]
) -> Prewarmed | None:
    """What may wait for the version, its package and layers considered."""
    prewarmed = plan_prewarmed(version, interpreter, runtime_dir)
    return None if prewarmed is None or _brings_libraries(code_dir, layer_dirs) else prewarmed


def _brings_libraries(code_dir: Path, layer_dirs: Sequence[Path]) -> bool:
    """Whether shared libraries lie where the loader has found no directory when the interpreter started."""
    return any(any((root / "lib").glob("*.so*")) for root in (code_dir, *layer_dirs))


def _sets_otherwise(environment: Mapping[str, str], started_with: Mapping[str, str]) -> bool:
    return any(
        name.startswith(_READ_AT_START) and name not in _READ_LATER and started_with.get(name) != value
        for name, value in environment.items()
    )
