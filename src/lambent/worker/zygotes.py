"""Which zygote a function's environments may be forked from, if any: one that nobody could tell from a fresh start.

A zygote has settings that were read when its interpreter started, and modules loaded. A function that sets such a
setting otherwise, or brings a module of such a name, is executed instead, as it would have been without zygotes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lambent.worker.runtimes import Interpreter
from lambent.worker.sandbox.plan import ZygotePlan
from lambent.worker.variables import startup_variables

_READ_AT_START = ("PYTHON", "LD_", "LC_", "LANG", "MALLOC_", "GLIBC_", "LOCPATH", "OPENSSL_")
"""How variables begin that the loader, libc, the interpreter or a preloaded library reads once and for all."""

_CLIENT = ("lambent_runtime.loop", "site")
_PROLOGUE = "lambent_runtime.prologue"
_REHEARSAL = "lambent_runtime.rehearsal"
_SDK = (
    *("boto3", "boto3.dynamodb.transform", "boto3.ec2.createtags", "boto3.s3.inject", "boto3.s3.transfer"),
    *("botocore.client", "botocore.httpsession", "botocore.retries.standard", "botocore.session", "botocore.signers"),
)
_SDK_ALSO_LOOKS_FOR = frozenset({"OpenSSL", "awscrt", "brotli", "brotlicffi", "certifi", "h2", "socks", "zstandard"})
"""What the SDK makes use of where it finds it, and decides about while it is imported."""
_WITH_SDK = "+sdk"
_SDK_MARKS = (b"boto3", b"botocore")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a function's package and layers say about the modules it will load."""

    modules: frozenset[str]
    """Those it brings, of the top level."""
    names_sdk: bool
    """Some file of it mentions the AWS SDK, and so may import it."""


def zygote_plans(interpreters: Iterable[Interpreter], runtime_dir: Path) -> tuple[ZygotePlan, ...]:
    """Two for every Python that a runtime may run on: with the SDK loaded, and without."""
    preferred: dict[str, Interpreter] = {}
    for interpreter in interpreters:
        if interpreter.language == "python":
            preferred.setdefault(interpreter.runtime, interpreter)
    return tuple(
        ZygotePlan(
            name=interpreter.runtime + suffix,
            argv=interpreter.argv_inside,
            env=startup_variables(interpreter.runtime),
            executable=str(interpreter.executable),
            runtime_dir=str(runtime_dir),
            language_dir=str(interpreter.language_dir) if interpreter.language_dir else None,
            preloads=_CLIENT + preloads,
            prologue=_PROLOGUE,
            rehearsal=_REHEARSAL,
        )
        for interpreter in preferred.values()
        for suffix, preloads in (("", ()), (_WITH_SDK, _SDK))
    )


def examine(code_dir: Path, layer_dirs: Sequence[Path] = ()) -> Contents:
    """Read the package and its layers. Blocks."""
    roots = [code_dir]
    for layer in layer_dirs:
        roots += [layer / "python", *layer.glob("python/lib/python3*/site-packages")]
    modules = frozenset(name for root in roots for name in _modules(root))
    return Contents(modules=modules, names_sdk=any(map(_names_sdk, roots)))


def suitable_zygotes(interpreter: Interpreter, environment: Mapping[str, str], contents: Contents) -> Sequence[str]:
    """Names of zygotes as far as they can be told from the function and its own variables alone, the best first."""
    started_with = startup_variables(interpreter.runtime)
    if interpreter.language != "python" or any(
        name.startswith(_READ_AT_START) and started_with.get(name) != environment[name] for name in environment
    ):
        return ()
    if contents.names_sdk and not contents.modules & _SDK_ALSO_LOOKS_FOR:
        return interpreter.runtime + _WITH_SDK, interpreter.runtime
    return (interpreter.runtime,)


def choose_zygote(suitable: Sequence[str], contents: Contents, loaded: Mapping[str, frozenset[str]]) -> str | None:
    """The best of those that are ready, `loaded`, which has not loaded what the function brings itself."""
    return next((name for name in suitable if name in loaded and not contents.modules & loaded[name]), None)


def _modules(root: Path) -> Iterator[str]:
    if not root.is_dir():
        return
    with os.scandir(root) as entries:
        for entry in entries:
            name, dot, extension = entry.name.partition(".")
            if entry.is_dir() and not dot:
                if os.path.exists(os.path.join(entry.path, "__init__.py")):
                    yield name
            elif extension in ("py", "pyc") or extension.endswith("so"):
                yield name


def _names_sdk(root: Path) -> bool:
    for above, _, files in os.walk(root):
        for name in files:
            if name.endswith(".py") and _mentions_sdk(os.path.join(above, name)):
                return True
    return False


def _mentions_sdk(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            text = file.read()
    except OSError:
        return False
    return any(mark in text for mark in _SDK_MARKS)
