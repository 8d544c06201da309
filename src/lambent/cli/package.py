"""From what lies on disk to a deployment package, and from a package to how it wants to be run.

The same files make the same bytes, so that what did not change is not deployed again.
"""

from __future__ import annotations

import ast
import io
import os
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lambent.cli.failure import ExitStatus, Failure
from lambent.model.limits import ZIPPED_CODE_BYTES

LEFT_OUT = frozenset(
    (".DS_Store", ".git", ".hg", ".lambent", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".venv", "__pycache__")
)
"""Names that never belong to a function."""

_EPOCH = (1980, 1, 1, 0, 0, 0)
_MODULES = ("app", "lambda_function", "main", "handler", "index")
_FUNCTIONS = ("handler", "lambda_handler")
_NODE_EXPORT = re.compile(
    rb"exports\.handler\b|export\s+(?:const|let|var|(?:async\s+)?function)\s+handler\b|export\s*{[^}]*\bhandler\b"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """How a package wants to be run: by a runtime of any version of its language, if none is named."""

    handler: str
    language: str = "python"
    runtime: str | None = None


def name_of(path: Path) -> str:
    """The name of a function that nobody named: that of its directory or file."""
    path = path.resolve()
    return path.name if path.is_dir() else path.stem


def make_package(path: Path) -> bytes:
    """The zip of a directory or of a single file; a .zip is taken as it is.

    Raises:
        Failure: there is nothing to pack, or it is too large to be sent.
        FileNotFoundError: nothing is there.
    """
    if path.suffix == ".zip" and path.is_file():
        package = path.read_bytes()
    elif path.is_dir():
        package = _zip(path, sorted(_files(path)))
    else:
        package = _zip(path.parent, [path])
    if len(package) > ZIPPED_CODE_BYTES:
        raise Failure(
            f"{path} makes a package of {len(package):,} bytes; at most {ZIPPED_CODE_BYTES:,} can be sent",
            status=ExitStatus.USAGE,
            hint="Put it into an S3-compatible store (`lambent serve --endpoint s3=URL`) and deploy it from there.",
        )
    return package


def find_entry(package: bytes) -> Entry | None:
    """An executable `bootstrap`, or a handler in one of the modules that usually hold it, of Python or of Node.js."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(package))
    except zipfile.BadZipFile as exc:
        raise Failure(f"not a zip: {exc}", status=ExitStatus.USAGE) from exc
    names = set(archive.namelist())
    if "bootstrap" in names and archive.getinfo("bootstrap").external_attr >> 16 & 0o001:
        return Entry(handler="bootstrap", runtime="provided.al2023")
    for language, (suffixes, handler_in) in _LANGUAGES.items():
        files = [name for name in names if name.endswith(suffixes) and "/" not in name]
        usual = [f"{module}{suffix}" for module in _MODULES for suffix in suffixes]
        for file in files if len(files) == 1 else usual:
            function = handler_in(archive.read(file)) if file in names else None
            if function is not None:
                return Entry(handler=f"{file.rpartition('.')[0]}.{function}", language=language)
    return None


def _files(root: Path) -> Iterator[Path]:
    for directory, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in LEFT_OUT]
        for name in folders:
            if (linked := Path(directory, name)).is_symlink():
                raise Failure(
                    f"{linked} is a link to a directory, which a package cannot hold", status=ExitStatus.USAGE
                )
        yield from (Path(directory, name) for name in files if name not in LEFT_OUT)


def _zip(root: Path, files: list[Path]) -> bytes:
    if not files:
        raise Failure(f"{root} holds no files", status=ExitStatus.USAGE)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            entry = zipfile.ZipInfo(file.relative_to(root).as_posix(), _EPOCH)
            mode = 0o100755 if file.stat().st_mode & 0o100 else 0o100644  # others read it: functions are not the owner
            entry.external_attr = mode << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, file.read_bytes())
    return buffer.getvalue()


def _python_handler_in(source: bytes) -> str | None:
    """The handler that a module defines or imports, by its usual name."""
    try:
        module = ast.parse(source)
    except SyntaxError:
        return None
    defined = {name for statement in module.body for name in _names(statement)}
    return next((name for name in _FUNCTIONS if name in defined), None)


def _node_handler_in(source: bytes) -> str | None:
    """`handler`, if a module of either kind exports it in one of the ways this is usually written."""
    return "handler" if _NODE_EXPORT.search(source) else None


def _names(statement: ast.stmt) -> Iterator[str]:
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            yield name
        case ast.Assign(targets=targets):
            yield from (target.id for target in targets if isinstance(target, ast.Name))
        case ast.ImportFrom(names=names):
            yield from (alias.asname or alias.name for alias in names)


_LANGUAGES = {"python": ((".py",), _python_handler_in), "nodejs": ((".js", ".mjs", ".cjs"), _node_handler_in)}
