"""Every Python on this machine that functions may ask for, and the runtime client running on each."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from lambent.testing.fake_runtime_api import FakeRuntimeApi
from lambent.testing.runtime_process import RuntimeProcess, running_runtime

HERE = Path(__file__).parent
FUNCTIONS = HERE / "functions"
CLIENT = HERE.parents[2] / "runtimes" / "python"

Start = Callable[..., AbstractAsyncContextManager[RuntimeProcess]]


def _find_interpreters() -> dict[str, str]:
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = {}
    for minor in range(8, 15):
        version = f"3.{minor}"
        candidates = [str(path) for path in sorted(pyenv.glob(f"{version}.*/bin/python{version}"))]
        candidates += [path for path in [shutil.which(f"python{version}")] if path and "shims" not in path]
        if candidates:
            found[version] = candidates[-1]
    return found


INTERPRETERS = _find_interpreters()


def variables(task_root: Path, handler: str) -> dict[str, str]:
    return {
        "LANG": "en_US.UTF-8",
        "LAMBDA_TASK_ROOT": str(task_root),
        "_HANDLER": handler,
        "AWS_LAMBDA_FUNCTION_NAME": "calls",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/calls",
        "AWS_LAMBDA_LOG_STREAM_NAME": "2024/01/01/[$LATEST]0",
    }


@pytest.fixture(scope="session", params=INTERPRETERS)
def python(request: pytest.FixtureRequest) -> str:
    """The path of one interpreter; tests that take it run on all of them."""
    return INTERPRETERS[request.param]


@pytest.fixture(scope="session")
def start(python: str) -> Start:
    """Starts the client on `python`, from a copy in `runtime_dir` if that is given."""

    def start(
        handler: str = "calls.handler",
        *,
        task_root: Path = FUNCTIONS,
        env: Mapping[str, str] | None = None,
        api: FakeRuntimeApi | None = None,
        runtime_dir: Path = CLIENT,
    ) -> AbstractAsyncContextManager[RuntimeProcess]:
        if runtime_dir != CLIENT:
            shutil.copytree(CLIENT, runtime_dir, dirs_exist_ok=True)
        environ = {**variables(task_root, handler), **(env or {})}
        command = [python, "-S", str(runtime_dir / "bootstrap.py")]
        return running_runtime(command, env=environ, cwd=task_root, api=api)

    return start
