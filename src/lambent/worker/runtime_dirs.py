"""What becomes /var/runtime: our runtime client and, beside it, the AWS SDK of this installation.

Made once per content, in the data directory: a sandbox must not see where Lambent itself is installed.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import lambent
from lambent.worker.runtimes import Interpreter

_SDK = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six", "urllib3")


def source_of(language: str) -> Path:
    """Our runtime client as installed: beside the package in a wheel, at the top of a checkout."""
    package = Path(lambent.__file__).parent
    for candidate in (package / "_runtimes" / language, package.parent.parent / "runtimes" / language):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(f"the {language} runtime client is not installed beside {package}; install Lambent again")


def prepare_python(root: Path) -> Path:
    """The /var/runtime of Python functions; boto3 lies in its `site-packages`."""
    sdk_versions = [importlib.metadata.version(name) for name in ("boto3", "botocore")]
    return _prepare(root, "python", sdk_versions, _add_sdk)


def prepare_node(root: Path, runtime: str) -> Path:
    """The /var/runtime of `nodejs20.x` and the like. Functions bring the AWS SDK themselves, or have it in a layer."""
    layer_modules = f"/opt/nodejs/{runtime.removesuffix('.x').replace('nodejs', 'node')}/node_modules"
    return _prepare(
        root, "nodejs", [layer_modules], lambda target: (target / "layer_modules").symlink_to(layer_modules)
    )


def _prepare(root: Path, language: str, additions: Iterable[str], add: Callable[[Path], None]) -> Path:
    source = source_of(language)
    target = root / f"{language}-{_digest(source, additions)}"
    if target.is_dir() and target.stat().st_uid == os.geteuid():
        return target
    shutil.rmtree(target, ignore_errors=True)
    unfinished = target.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(source, unfinished, ignore=shutil.ignore_patterns("__pycache__"))
    add(unfinished)
    unfinished.rename(target)
    return target


def _add_sdk(target: Path) -> None:
    for name in _SDK:
        _copy_module(name, target / "site-packages")


async def compile_client(runtime_dir: Path, interpreters: Iterable[Interpreter]) -> None:
    """Have each interpreter compile our client once, for no cold start to do it; the SDK comes compiled for ours."""
    for interpreter in interpreters:
        if interpreter.language == "python":
            process = await asyncio.create_subprocess_exec(
                *(str(interpreter.executable), "-S", "-m", "compileall", "-q", str(runtime_dir), "-x", "site-packages"),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            await process.wait()


def prepare_empty(root: Path) -> Path:
    """The /var/runtime of OS-only runtimes, as on AWS: nothing."""
    target = root / "none"
    target.mkdir(parents=True, exist_ok=True)
    return target


def _copy_module(name: str, target: Path) -> None:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"{name} belongs to Lambent's dependencies and is not installed; install Lambent again")
    target.mkdir(exist_ok=True)
    origin = Path(spec.origin)
    if spec.submodule_search_locations:
        shutil.copytree(origin.parent, target / name)
    else:
        shutil.copy2(origin, target / origin.name)


def _digest(source: Path, additions: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for file in sorted((*source.rglob("*.py"), *source.rglob("*.cjs"))):
        digest.update(file.relative_to(source).as_posix().encode() + b"\0" + file.read_bytes())
    for addition in additions:
        digest.update(addition.encode())
    return digest.hexdigest()[:16]
