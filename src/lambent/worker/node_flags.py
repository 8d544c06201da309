"""What Node.js is started with: AWS's own settings, and a heap that fits into the function's memory. Pure."""

from __future__ import annotations

from lambent.worker.runtimes import Interpreter

_HEAP_SHARE = 0.9
_YOUNG_SHARE = 0.05
_YOUNG_MIB_MAXIMUM = 16
"""V8's own, for machines with more memory than it could ask for."""


def node_flags(interpreter: Interpreter, memory_mib: int, node_options: str) -> tuple[str, ...]:
    """The flags of the command line, without those that the function sets otherwise: they would win over NODE_OPTIONS.

    https://docs.aws.amazon.com/lambda/latest/dg/lambda-nodejs.html names the experimental features AWS turns off.
    """
    young_mib = min(_YOUNG_MIB_MAXIMUM, max(1, int(memory_mib * _YOUNG_SHARE)))
    flags = [
        "--expose-gc",
        "--max-http-header-size=81920",
        f"--max-semi-space-size={young_mib}",
        f"--max-old-space-size={int(memory_mib * _HEAP_SHARE)}",
    ]
    major, minor, _ = interpreter.release
    if (major == 20 and minor >= 17) or major == 22:
        flags.append("--no-experimental-require-module")
    if major == 22:
        flags.append("--no-experimental-detect-module")
    chosen = {_name(option) for option in node_options.split()}
    return tuple(flag for flag in flags if _name(flag) not in chosen)


def _name(option: str) -> str:
    """Of an option, however it is written: `--max_old_space_size=9`, `--no-expose-gc`."""
    return option.partition("=")[0].replace("_", "-").removeprefix("--").removeprefix("no-")
