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
