"""Interpreters are found by layout alone, chosen by rule, and what is missing is said so that it can be added."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lambent.worker import runtimes
from lambent.worker.runtimes import Interpreter, Missing, discover, resolve_runtime, runtime_version


class Host:
    """A made-up file system with interpreters in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environ = {"HOME": str(root / "home"), "PATH": f"{root}/usr/bin"}

    def program(self, path: str, content: bytes = b"\x7fELF") -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        file.chmod(0o755)
        return file

    def python(self, prefix: str, minor: int, *, header: str | None = None, modules: tuple[str, ...] = ()) -> Path:
        name = f"python3.{minor}"
        library = self.root / prefix / "lib" / name
        (library / "lib-dynload").mkdir(parents=True)
        for file in ("os.py", "ssl.py", *(f"lib-dynload/{module}.cpython-3{minor}.so" for module in modules)):
            (library / file).touch()
        if header:
            patchlevel = self.root / prefix / "include" / name / "patchlevel.h"
            patchlevel.parent.mkdir(parents=True)
            patchlevel.write_text(f'/* Version as a string */\n#define PY_VERSION      \t"{header}"\n')
        return self.program(f"{prefix}/bin/{name}")

    def discover(self) -> list[Interpreter]:
        return discover(self.environ, self.root)

    def found(self) -> list[tuple[str, str, str]]:
        return [(one.runtime, one.version, one.source) for one in self.discover()]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    def refuse(executable: Path, *arguments: str) -> str:
        raise AssertionError(f"{executable} was started")

    monkeypatch.setattr(runtimes, "_ask", refuse)
    return Host(tmp_path)


def interpreter(runtime: str, version: str = "3.0.0") -> Interpreter:
    prefix = Path("/x") / version
    return Interpreter(
        runtime=runtime, version=version, executable=prefix / "bin" / runtime, prefix=prefix, source="path"
    )


def test_interpreters_are_found_where_each_tool_puts_them_without_starting_any(host: Host) -> None:
    host.python("usr", 11, header="3.11.2")
    host.python("usr/local", 9, header="3.9.1")
    host.python("home/.pyenv/versions/3.12.1", 12)
    host.python("home/.local/share/uv/python/cpython-3.13.7-linux-x86_64-gnu", 13)
    host.python("opt/python3.14", 14, header="3.14.0")
    host.python("opt/python/cp310-cp310", 10, header="3.10.16")
    host.python("srv/python", 8, header="3.8.20")
    host.environ["PATH"] += f":{host.root}/srv/python/bin"

    assert host.found() == [
        ("python3.8", "3.8.20", "path"),
        ("python3.9", "3.9.1", "local"),
        ("python3.10", "3.10.16", "opt"),
        ("python3.11", "3.11.2", "usr"),
        ("python3.12", "3.12.1", "pyenv"),
        ("python3.13", "3.13.7", "uv"),
        ("python3.14", "3.14.0", "opt"),
    ]


def test_roots_of_pyenv_and_uv_may_be_configured(host: Host) -> None:
    host.environ |= {"PYENV_ROOT": f"{host.root}/srv/pyenv", "UV_PYTHON_INSTALL_DIR": f"{host.root}/srv/uv"}
    host.python("srv/pyenv/versions/3.12.1", 12)
    host.python("srv/uv/cpython-3.13.7-linux-x86_64-gnu", 13)

    assert host.found() == [("python3.12", "3.12.1", "pyenv"), ("python3.13", "3.13.7", "uv")]


def test_the_newest_patch_comes_first_as_a_number(host: Host) -> None:
    for version in ("3.12.9", "3.12.10", "3.12.1"):
        host.python(f"home/.pyenv/versions/{version}", 12)

    assert [version for _, version, _ in host.found()] == ["3.12.10", "3.12.9", "3.12.1"]


def test_a_release_is_preferred_to_a_release_candidate(host: Host) -> None:
    host.python("home/.pyenv/versions/3.14.0rc2", 14)
    host.python("opt/python3.14", 14, header="3.14.0")

    assert [version for _, version, _ in host.found()] == ["3.14.0", "3.14.0rc2"]


def test_a_complete_installation_is_preferred_to_a_newer_one_without_tls(host: Host) -> None:
    host.python("home/.pyenv/versions/3.12.9", 12, modules=("_socket",))
    host.python("home/.pyenv/versions/3.12.1", 12, modules=("_socket", "_ssl"))

    assert [(one.version, one.is_complete) for one in host.discover()] == [("3.12.1", True), ("3.12.9", False)]


def test_a_link_and_its_target_are_one_interpreter(host: Host) -> None:
    real = host.python("home/.pyenv/versions/3.12.1", 12)
    venv = host.root / "work/.venv/bin"
    venv.mkdir(parents=True)
    (venv / "python3.12").symlink_to(real)
    host.environ["PATH"] = f"{venv}:{host.root}/usr/bin"

    (only,) = host.discover()

    assert only.executable == real
    assert only.source == "pyenv"


def test_shims_and_stray_executables_are_no_interpreters(host: Host) -> None:
    host.program("home/.pyenv/shims/python3.12", b"#!/usr/bin/env bash\nexec pyenv exec\n")
    host.program("usr/bin/python3.13")
    host.environ["PATH"] += f":{host.root}/home/.pyenv/shims:relative::"

    assert host.discover() == []


def test_versions_outside_of_what_the_runtime_client_supports_are_not_listed(host: Host) -> None:
    host.python("home/.pyenv/versions/3.7.16", 7)
    host.python("home/.pyenv/versions/3.15.0", 15)

    assert host.discover() == []


def test_an_interpreter_without_header_is_asked_for_its_version(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "_ask", lambda *_: "3.11.2")
    host.python("usr", 11)

    assert host.found() == [("python3.11", "3.11.2", "usr")]


def test_an_interpreter_that_does_not_start_is_left_out(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    host.python("usr", 11)

    assert host.discover() == []


def test_node_is_listed_with_its_version(host: Host) -> None:
    host.program("usr/bin/node")
    header = host.root / "usr/include/node/node_version.h"
    header.parent.mkdir(parents=True)
    header.write_text("#define NODE_MAJOR_VERSION 20\n#define NODE_MINOR_VERSION 19\n#define NODE_PATCH_VERSION 2\n")

    (node,) = host.discover()

    assert (node.runtime, node.version, node.language) == ("nodejs20.x", "20.19.2", "nodejs")
    assert node.argv_inside == (str(host.root / "usr/bin/node"), "/var/runtime/bootstrap.cjs")


def test_node_is_found_where_nvm_puts_it_and_the_newest_release_comes_first(host: Host) -> None:
    for version in ("v20.9.0", "v20.11.1", "v22.1.0", "v16.20.2"):
        host.program(f"home/.nvm/versions/node/{version}/bin/node")
    host.program("opt/node-v24.0.1/bin/node")

    assert host.found() == [
        ("nodejs20.x", "20.11.1", "nvm"),
        ("nodejs20.x", "20.9.0", "nvm"),
        ("nodejs22.x", "22.1.0", "nvm"),
        ("nodejs24.x", "24.0.1", "opt"),
    ]


def test_the_distributions_own_interpreter_runs_where_it_is(host: Host) -> None:
    executable = host.python("usr", 11, header="3.11.2")

    (found,) = host.discover()

    assert found.language_dir is None
    assert found.argv0_inside == str(executable)


@pytest.mark.parametrize("prefix", ["usr/local", "opt/python3.12", "home/.pyenv/versions/3.12.1"])
def test_any_other_interpreter_is_shown_at_var_lang(host: Host, prefix: str) -> None:
    host.python(prefix, 12, header="3.12.1")

    (found,) = host.discover()

    assert found.language_dir == host.root / prefix
    assert found.argv0_inside == "/var/lang/bin/python3.12"


def test_the_first_interpreter_of_a_runtime_is_chosen() -> None:
    installed = [interpreter("python3.11"), interpreter("python3.12", "3.12.9"), interpreter("python3.12", "3.12.1")]

    assert resolve_runtime("python3.12", installed, "none") == installed[1]


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ("python3.14", "python3.13"),
        ("python3.11", "python3.12"),
        ("python3.9", "python3.9"),
        ("python2.7", "python3.9"),
    ],
)
def test_nearest_falls_back_to_the_nearest_version_and_of_two_to_the_newer(wanted: str, chosen: str) -> None:
    installed = [interpreter(f"python3.{minor}") for minor in (9, 10, 12, 13)]

    found = resolve_runtime(wanted, installed, "nearest")

    assert isinstance(found, Interpreter)
    assert found.runtime == chosen


def test_a_missing_runtime_is_named_with_what_is_installed_and_how_to_add_it() -> None:
    installed = [
        interpreter("python3.9", "3.9.18"),
        interpreter("python3.11", "3.11.7"),
        interpreter("python3.11", "3.11.2"),
    ]

    assert resolve_runtime("python3.14", installed, "none") == Missing(
        runtime="python3.14",
        message="No interpreter for python3.14 is installed on this host; installed: python3.9 (3.9.18), python3.11 "
        "(3.11.7). Add it, for example with `uv python install 3.14` or `pyenv install 3.14`, and restart Lambent; or "
        "start Lambent with --runtime-fallback nearest.",
    )


def test_nearest_without_any_interpreter_is_missing_too() -> None:
    missing = resolve_runtime("python3.12", [], "nearest")

    assert isinstance(missing, Missing)
    assert "installed: none" in missing.message


@pytest.mark.parametrize("runtime", ["java21", "ruby3.4", "dotnet8", "go1.x"])
@pytest.mark.parametrize("fallback", ["none", "nearest"])
def test_a_language_that_lambent_does_not_run_is_missing(runtime: str, fallback: str) -> None:
    missing = resolve_runtime(runtime, [interpreter("nodejs20.x"), interpreter("python3.12")], fallback)

    assert isinstance(missing, Missing)
    assert missing.message.startswith(f"Lambent does not run {runtime} functions yet.")


def test_a_language_falls_back_to_its_own_versions_only() -> None:
    installed = [interpreter("nodejs18.x"), interpreter("nodejs20.x"), interpreter("python3.12")]

    assert resolve_runtime("nodejs24.x", installed, "nearest") == installed[1]
    assert isinstance(resolve_runtime("nodejs24.x", installed[2:], "nearest"), Missing)


def test_how_to_add_a_missing_node_is_told() -> None:
    missing = resolve_runtime("nodejs22.x", [interpreter("nodejs20.x", "20.19.2")], "none")

    assert isinstance(missing, Missing)
    assert "installed: nodejs20.x (20.19.2). Add it, for example with `nvm install 22`, and restart" in missing.message


@pytest.mark.parametrize("runtime", ["python2.7", "python3.7", "python3.15", "nodejs16.x", "nodejs26.x"])
def test_a_version_that_no_installation_could_add_is_not_advised_to_be_installed(runtime: str) -> None:
    missing = resolve_runtime(runtime, [interpreter("python3.12")], "none")

    assert isinstance(missing, Missing)
    assert "install " not in missing.message


@pytest.mark.parametrize(
    ("runtime", "label"),
    [("python3.12", "python:3.12.v1"), ("nodejs20.x", "nodejs:20.v1"), ("java21", "java:21.v1")],
)
def test_a_runtime_version_reads_like_awss(runtime: str, label: str) -> None:
    assert runtime_version(runtime, "eu-west-1")[0] == label


def test_a_runtime_version_arn_is_the_same_at_every_start() -> None:
    assert runtime_version("python3.12", "eu-west-1")[1] == (
        "arn:aws:lambda:eu-west-1::runtime:ecb9605bfab3b7f75f999faee0498d0134cd2161b517277f17108b984874c6ca"
    )


def test_the_interpreter_of_these_tests_is_found() -> None:
    assert any(one.executable == Path(os.path.realpath(sys.executable)) for one in discover())


def test_a_place_that_one_may_not_look_into_holds_nothing(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.python("usr", 11, header="3.11.2")
    host.python("closed/versions/3.12.1", 12)
    host.environ["PYENV_ROOT"] = str(host.root / "closed")
    glob = Path.glob

    def refuse(place: Path, pattern: str) -> Iterator[Path]:
        if place == host.root / "closed":
            raise PermissionError(13, "Permission denied", str(place))
        return glob(place, pattern)

    monkeypatch.setattr(Path, "glob", refuse)

    assert host.found() == [("python3.11", "3.11.2", "usr")]
