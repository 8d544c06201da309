"""The interpreters of this host: found by how they lie on disk, chosen for a runtime, shown inside a sandbox.

Nothing is started to find them: versions are read from a header or from a directory's name. Discovery runs while the
server may still look everywhere, before privileges are dropped.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lambent.model.runtime import runtime_version_arn

PYTHON_MINORS = range(8, 15)
"""The Python 3 versions that our runtime client is written for."""
NODE_MAJORS = range(18, 27)
"""The same for Node.js; AWS has runtimes of the even ones, up to NODE_NEWEST."""
NODE_NEWEST = 24

_LANGUAGE_DIR = Path("/var/lang")
_ELF = b"\x7fELF"
_RUNTIME = re.compile(r"(?P<language>[a-z]+)(?P<version>\d[\d.]*\d|\d|)")
_VERSION = re.compile(r"(?P<numbers>\d+\.\d+\.\d+)(?P<rest>(?:a|b|rc)\d+|\+|)")
_PATCHLEVEL = re.compile(r'^#define PY_VERSION\s+"([^"]+)"', re.MULTILINE)
_NODE_PART = re.compile(r"^#define NODE_(?:MAJOR|MINOR|PATCH)_VERSION (\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """One installation of one language. `executable` is the file itself, all links followed."""

    runtime: str
    """As AWS names it: `python3.12`, `nodejs20.x`."""
    version: str
    executable: Path
    prefix: Path
    source: str
    """Who put it there: `usr`, `local`, `pyenv`, `uv`, `nvm`, `opt`, or `path` for anything else on PATH."""
    is_complete: bool = True
    """The standard library is there, and can speak TLS."""

    @property
    def language(self) -> str:
        return _parse(self.runtime)[0]

    @property
    def language_dir(self) -> Path | None:
        """What must be bound at /var/lang; None for the distribution's own, for sandboxes see /usr anyway."""
        return None if self.source == "usr" else self.prefix

    @property
    def argv0_inside(self) -> str:
        """The executable's path inside a sandbox; Python finds its library from there, wherever it was built for."""
        if self.language_dir is None:
            return str(self.executable)
        return str(_LANGUAGE_DIR / self.executable.relative_to(self.language_dir))

    @property
    def argv_inside(self) -> tuple[str, ...]:
        """What starts our own runtime client."""
        if self.language == "nodejs":
            return self.argv0_inside, "/var/runtime/bootstrap.cjs"
        return self.argv0_inside, "-S", "/var/runtime/bootstrap.py"

    @property
    def release(self) -> tuple[int, ...]:
        """The version as numbers."""
        match = _VERSION.fullmatch(self.version)
        assert match is not None, self
        return tuple(map(int, match["numbers"].split(".")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Why a runtime cannot run on this host, and what would change that."""

    runtime: str
    message: str


def discover(environ: Mapping[str, str] = os.environ, root: Path = Path("/")) -> list[Interpreter]:
    """Every interpreter found, by runtime, the one to prefer first: complete ones, then the newest patch.

    Looks in PATH, /usr, /usr/local, pyenv, uv, nvm, /opt/python* and /opt/node*.
    """
    places = _Places(environ, root)
    executables = dict.fromkeys(
        Path(os.path.realpath(candidate)) for directory in places.bin_dirs() for candidate in _candidates(directory)
    )
    found = [interpreter for executable in executables if (interpreter := _examine(executable, places))]
    return sorted(found, key=_preference)


def resolve_runtime(runtime: str, interpreters: Sequence[Interpreter], fallback: str) -> Interpreter | Missing:
    """Choose what runs a managed runtime. With `fallback` "nearest", the nearest version of its language will do."""
    for interpreter in interpreters:
        if interpreter.runtime == runtime:
            return interpreter
    language, wanted = _parse(runtime)
    alike = [one for one in interpreters if one.language == language]
    if fallback == "nearest" and alike:
        return min(alike, key=lambda one: _distance(_parse(one.runtime)[1], wanted))
    return Missing(runtime=runtime, message=_why_missing(runtime, interpreters))


@cache
def runtime_version(runtime: str, region: str) -> tuple[str, str]:
    """What INIT_START calls the runtime, `python:3.12.v1`, and its ARN."""
    match = _RUNTIME.match(runtime)
    parts = [part for part in (match.groups() if match else (runtime,)) if part]
    return f"{':'.join(parts)}.v1", runtime_version_arn(runtime, region)


class _Places:
    """Where interpreters are put, and by whom."""

    def __init__(self, environ: Mapping[str, str], root: Path) -> None:
        home = Path(environ.get("HOME", "/nonexistent"))
        data_home = Path(environ.get("XDG_DATA_HOME") or home / ".local/share")
        self._path = [Path(entry) for entry in environ.get("PATH", "").split(os.pathsep) if entry.startswith("/")]
        self._usr = root / "usr"
        self._pyenvs = _resolved(environ.get("PYENV_ROOT"), home / ".pyenv")
        self._uvs = _resolved(environ.get("UV_PYTHON_INSTALL_DIR"), data_home / "uv/python")
        self._nvms = _resolved(environ.get("NVM_DIR"), home / ".nvm")
        self._opt = root / "opt"

    def bin_dirs(self) -> Iterator[Path]:
        yield from self._path
        yield from (self._usr / "bin", self._usr / "local/bin")
        for pyenv in self._pyenvs:
            yield from _below(pyenv, "versions/*/bin")
        for uv in self._uvs:
            yield from _below(uv, "cpython-*/bin")
        for nvm in self._nvms:
            yield from _below(nvm, "versions/node/*/bin")
        yield from _below(self._opt, "node*/bin")
        yield from _below(self._opt, "python*/bin")
        yield from _below(self._opt, "python*/*/bin")

    def source_of(self, prefix: Path) -> str:
        if prefix == self._usr:
            return "usr"
        managers = {"pyenv": self._pyenvs, "uv": self._uvs, "nvm": self._nvms}
        owners = [(directory, name) for name, directories in managers.items() for directory in directories]
        for directory, name in [(self._usr, "local"), *owners, (self._opt, "opt")]:
            if prefix.is_relative_to(directory):
                return name
        return "path"


def _resolved(configured: str | None, default: Path) -> list[Path]:
    return list({Path(os.path.realpath(place)): None for place in (configured, default) if place})


def _below(place: Path, pattern: str) -> Iterator[Path]:
    """Nothing where we may not look: a variable may still name the place of whom we were before `su`."""
    with suppress(PermissionError):
        yield from place.glob(pattern)


def _candidates(directory: Path) -> Iterator[Path]:
    for name in (*(f"python3.{minor}" for minor in PYTHON_MINORS), "node"):
        candidate = directory / name
        if os.access(candidate, os.X_OK):
            yield candidate


def _examine(executable: Path, places: _Places) -> Interpreter | None:
    """What the file is; None for one that is no installation: a wrapper script, a stray copy."""
    prefix = executable.parent.parent
    if executable.parent.name != "bin" or not _is_program(executable):
        return None
    if executable.name == "node":
        version = _node_version(executable, prefix)
        major = version.partition(".")[0]
        if not major.isdecimal() or int(major) not in NODE_MAJORS:
            return None
        runtime, is_complete = f"nodejs{major}.x", True
    else:
        library = _library(prefix, executable.name)
        if library is None:
            return None
        version = _python_version(executable, prefix)
        runtime, is_complete = executable.name, _has_tls(library)
    if not _VERSION.fullmatch(version):
        return None
    return Interpreter(
        runtime=runtime,
        version=version,
        executable=executable,
        prefix=prefix,
        source=places.source_of(prefix),
        is_complete=is_complete,
    )


def _is_program(path: Path) -> bool:
    """Not a script: pyenv's shims would run pyenv, which no sandbox has."""
    try:
        with open(path, "rb") as file:
            return file.read(4) == _ELF
    except OSError:
        return False


def _library(prefix: Path, name: str) -> Path | None:
    for lib in ("lib", "lib64"):
        if (prefix / lib / name / "os.py").is_file():
            return prefix / lib / name
    return None


def _has_tls(library: Path) -> bool:
    """`_ssl` lies among the extension modules, or is built in as they all are."""
    extensions = library / "lib-dynload"
    lacks_ssl = any(extensions.glob("_socket.*.so")) and not any(extensions.glob("_ssl.*.so"))
    return (library / "ssl.py").is_file() and not lacks_ssl


def _python_version(executable: Path, prefix: Path) -> str:
    header = _read(prefix / "include" / executable.name / "patchlevel.h")
    if match := _PATCHLEVEL.search(header) or _VERSION.search(prefix.name):
        return match[1] if match.re is _PATCHLEVEL else match[0]
    return _ask(executable, "-IS", "-c", "import platform; print(platform.python_version())")


def _node_version(executable: Path, prefix: Path) -> str:
    header = _read(prefix / "include/node/node_version.h")
    if len(parts := _NODE_PART.findall(header)) == 3:
        return ".".join(parts)
    if match := _VERSION.search(prefix.name):
        return match[0]
    return _ask(executable, "--version").removeprefix("v")


@cache
def _ask(executable: Path, *arguments: str) -> str:
    """The last resort: start it. Distributions ship interpreters without headers."""
    try:
        done = subprocess.run([executable, *arguments], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _preference(interpreter: Interpreter) -> tuple[object, ...]:
    match = _VERSION.fullmatch(interpreter.version)
    assert match is not None, interpreter
    language, version = _parse(interpreter.runtime)
    is_prerelease = match["rest"] not in ("", "+")
    newest_first = tuple(-number for number in interpreter.release)
    return language, version, not interpreter.is_complete, is_prerelease, newest_first, interpreter.source != "usr"


def _parse(runtime: str) -> tuple[str, tuple[int, ...]]:
    match = _RUNTIME.match(runtime)
    if match is None:
        return runtime, ()
    return match["language"], tuple(int(part) for part in match["version"].split(".") if part)


def _distance(version: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, int]:
    """How far apart; of two equally far the newer one is nearer, for Python takes more care of old code than of new."""
    here, there = ((*one, 0, 0)[:2] for one in (version, wanted))
    gap = (here[0] - there[0]) * 1_000 + here[1] - there[1]
    return abs(gap), -gap


def _why_missing(runtime: str, interpreters: Sequence[Interpreter]) -> str:
    preferred = {one.runtime: one.version for one in reversed(interpreters)}
    installed = ", ".join(f"{name} ({preferred[name]})" for name in reversed(preferred)) or "none"
    language, _ = _parse(runtime)
    if language not in _KNOWN:
        return (
            f"Lambent does not run {runtime} functions yet. It runs {' and '.join(_KNOWN.values())} (installed on this "
            f"host: {installed}), and any executable bootstrap as provided.al2023."
        )
    if (advice := _advice(runtime)) is None:
        return (
            f"Lambent does not run {runtime}. It runs {_KNOWN[language]}; installed on this host: {installed}. "
            "Change the function's runtime, or start Lambent with --runtime-fallback nearest."
        )
    return (
        f"No interpreter for {runtime} is installed on this host; installed: {installed}. Add it, for example with "
        f"{advice}, and restart Lambent; or start Lambent with --runtime-fallback nearest."
    )


_KNOWN = {"python": "python3.8 to python3.14", "nodejs": f"nodejs18.x to nodejs{NODE_NEWEST}.x"}


def _advice(runtime: str) -> str | None:
    """How to install what a runtime takes; None where nothing would help."""
    language, version = _parse(runtime)
    if language == "python" and version[:1] == (3,) and len(version) == 2 and version[1] in PYTHON_MINORS:
        number = runtime.removeprefix("python")
        return f"`uv python install {number}` or `pyenv install {number}`"
    if language == "nodejs" and version and version[0] in range(NODE_MAJORS.start, NODE_NEWEST + 1):
        return f"`nvm install {version[0]}`"
    return None
