"""Which interpreter may wait for a function: one that nobody could tell from a fresh start."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from function_versions import function_version
from lambent.model.function import FunctionVersion
from lambent.worker.launch import interpreter_argv
from lambent.worker.prewarm import choose_prewarmed, plan_prewarmed
from lambent.worker.runtimes import Interpreter
from lambent.worker.variables import startup_variables

NODE = Interpreter(
    runtime="nodejs20.x",
    version="20.19.2",
    executable=Path("/opt/node/bin/node"),
    prefix=Path("/opt/node"),
    source="opt",
)
PYTHON = replace(NODE, runtime="python3.12", version="3.12.1")
RUNTIME_DIR = Path("/data/runtime")
VERSION = function_version(runtime="nodejs20.x", handler="index.handler")


def with_variables(**variables: str) -> FunctionVersion:
    return replace(VERSION, environment=variables)


def test_what_waits_is_started_as_a_runtime_would_be() -> None:
    prewarmed = plan_prewarmed(VERSION, NODE, RUNTIME_DIR)

    assert prewarmed is not None
    assert prewarmed.argv[:-1] == interpreter_argv(NODE, VERSION.memory_mib, "")[:-1]
    assert prewarmed.argv[-1] == "/var/runtime/spare.cjs"
    assert dict(prewarmed.env) == startup_variables("nodejs20.x") | {"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001"}
    assert (prewarmed.runtime_dir, prewarmed.language_dir) == ("/data/runtime", "/opt/node")


def test_functions_that_differ_in_code_alone_may_have_the_same() -> None:
    other = replace(VERSION, name="g", code_blob="1" * 64, environment={"TABLE": "t", "NODE_ENV": "production"})

    assert plan_prewarmed(other, NODE, RUNTIME_DIR) == plan_prewarmed(VERSION, NODE, RUNTIME_DIR)
    assert plan_prewarmed(replace(VERSION, memory_mib=512), NODE, RUNTIME_DIR) != plan_prewarmed(
        VERSION, NODE, RUNTIME_DIR
    ), "a heap cannot be bounded otherwise later"


@pytest.mark.parametrize("name", ["NODE_OPTIONS", "NODE_PATH", "LD_PRELOAD", "LANG", "UV_THREADPOOL_SIZE"])
def test_who_sets_what_is_read_at_the_start_is_executed(name: str) -> None:
    assert plan_prewarmed(with_variables(**{name: "other"}), NODE, RUNTIME_DIR) is None
    assert plan_prewarmed(with_variables(LANG="en_US.UTF-8"), NODE, RUNTIME_DIR) is not None


def test_who_has_a_wrapper_is_executed() -> None:
    assert plan_prewarmed(with_variables(AWS_LAMBDA_EXEC_WRAPPER="/opt/wrapper"), NODE, RUNTIME_DIR) is None


def test_python_is_forked_instead() -> None:
    assert plan_prewarmed(replace(VERSION, runtime="python3.12"), PYTHON, RUNTIME_DIR) is None


@pytest.mark.parametrize("place", ["code", "layer"])
def test_who_brings_libraries_is_executed_for_the_loader_looks_but_once(tmp_path: Path, place: str) -> None:
    code_dir, layer_dir = tmp_path / "code", tmp_path / "layer"
    for directory in (code_dir, layer_dir):
        (directory / "lib").mkdir(parents=True)
        (directory / "lib/index.js").touch()
    assert choose_prewarmed(VERSION, NODE, RUNTIME_DIR, code_dir, [layer_dir]) is not None

    (tmp_path / place / "lib/libvips.so.42").touch()

    assert choose_prewarmed(VERSION, NODE, RUNTIME_DIR, code_dir, [layer_dir]) is None
