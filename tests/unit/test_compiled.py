"""What is compiled is imported, unless it was compiled from something else."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lambent import compiled

OTHER_INTERPRETER = ".cpython-30-x86_64-linux-gnu.so"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package with all sources and nothing compiled, in the place of the real one."""
    monkeypatch.setattr(compiled, "_PACKAGE", str(tmp_path))
    monkeypatch.setattr(sys, "meta_path", [])
    monkeypatch.delenv(compiled.OPT_OUT, raising=False)
    for module in compiled.MODULES:
        path = Path(compiled.source(module))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {module}\n")
    return tmp_path


def finds() -> bool:
    compiled.use()
    return bool(sys.meta_path)


def test_every_module_that_is_compiled_is_there() -> None:
    assert [module for module in compiled.MODULES if not os.path.isfile(compiled.source(module))] == []


def test_without_anything_compiled_the_sources_are_imported(package: Path) -> None:
    assert not finds()


def test_what_was_compiled_from_these_sources_is_found_by_name(package: Path) -> None:
    place = Path(compiled.directory())
    place.mkdir(parents=True)
    assert finds()
    spec = sys.meta_path[0].find_spec("lambent.http.connection", None)
    assert spec is not None
    assert spec.origin == str(place / f"lambent.http.connection{compiled.SUFFIX}")
    assert sys.meta_path[0].find_spec("lambent.http", None) is None


def test_after_an_edit_the_sources_are_imported_again(package: Path) -> None:
    Path(compiled.directory()).mkdir(parents=True)
    Path(compiled.source("lambent.http.connection")).write_text("# edited\n")
    assert not finds()


def test_what_was_compiled_for_another_interpreter_is_left_alone(package: Path) -> None:
    Path(compiled.directory().removesuffix(compiled.SUFFIX) + OTHER_INTERPRETER).mkdir(parents=True)
    assert not finds()


def test_a_variable_has_the_sources_imported(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(compiled.directory()).mkdir(parents=True)
    monkeypatch.setenv(compiled.OPT_OUT, "1")
    assert not finds()


def test_no_class_that_is_compiled_takes_keywords() -> None:
    """mypyc leaves them out without a word: a msgspec.Struct would be neither frozen nor hashable."""
    found = [
        f"{module}.{node.name}"
        for module in compiled.MODULES
        for node in ast.walk(ast.parse(Path(compiled.source(module)).read_text()))
        if isinstance(node, ast.ClassDef) and node.keywords
    ]
    assert found == []


def test_no_module_that_is_compiled_takes_a_final_from_one_that_is_not() -> None:
    """mypyc writes its value into the code, and an edit of it would be seen by nobody."""
    found = []
    for module in compiled.MODULES:
        for node in ast.walk(ast.parse(Path(compiled.source(module)).read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module not in compiled.MODULES:
                taken = {alias.name for alias in node.names}
                found += [f"{module}: {name}" for name in taken & finals(node.module)]
                submodules = {f"{node.module}.{name}" for name in taken} - set(compiled.MODULES)
                found += [f"{module}: {one}" for one in submodules if finals(one)]
    assert found == []


def test_finals_are_recognised() -> None:
    assert {"RETRY_ATTEMPTS_DEFAULT", "EVENT_AGE_S_DEFAULT"} <= finals("lambent.model.event_invoke")


def finals(module: str) -> set[str]:
    path = Path(compiled.source(module))
    if module.partition(".")[0] != "lambent" or not path.is_file():
        return set()
    assigned = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.AnnAssign)]
    return {ast.unparse(node.target) for node in assigned if "Final" in ast.unparse(node.annotation)}
