"""The examples run as they are, against a fake Runtime API."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from lambent.testing.runtime_process import running_runtime

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


async def test_hello_python_greets_and_counts_its_calls() -> None:
    folder = EXAMPLES / "hello-python"
    env = {"_HANDLER": "app.handler", "LAMBDA_TASK_ROOT": str(folder), "AWS_LAMBDA_LOG_STREAM_NAME": "stream"}
    command = [sys.executable, "-S", str(ROOT / "runtimes" / "python" / "bootstrap.py")]

    async with running_runtime(command, env=env, cwd=folder) as runtime:
        first = await runtime.invoke(b'{"name": "Ada"}')
        second = await runtime.invoke(b"{}")
        end = await runtime.stop()

    assert first.json() == {"greeting": "Hello, Ada!", "calls": 1, "log_stream": "stream"}
    assert second.json() == {"greeting": "Hello, world!", "calls": 2, "log_stream": "stream"}
    assert end.stdout.startswith("[INFO]\t")


@pytest.mark.skipif(shutil.which("node") is None, reason="no Node.js on this host")
async def test_hello_node_greets_and_counts_its_calls() -> None:
    folder = EXAMPLES / "hello-node"
    env = {"_HANDLER": "index.handler", "LAMBDA_TASK_ROOT": str(folder), "AWS_LAMBDA_LOG_STREAM_NAME": "stream"}
    command = [str(shutil.which("node")), str(ROOT / "runtimes" / "nodejs" / "bootstrap.cjs")]

    async with running_runtime(command, env=env, cwd=folder) as runtime:
        first = await runtime.invoke(b'{"name": "Ada"}')
        second = await runtime.invoke(b"{}")
        end = await runtime.stop()

    assert first.json() == {"greeting": "Hello, Ada!", "calls": 1, "logStream": "stream"}
    assert second.json() == {"greeting": "Hello, world!", "calls": 2, "logStream": "stream"}
    assert "\tINFO\t" in end.stdout


async def test_stream_python_sends_a_text_word_by_word() -> None:
    folder = EXAMPLES / "stream-python"
    env = {"_HANDLER": "app.handler", "LAMBDA_TASK_ROOT": str(folder)}
    command = [sys.executable, "-S", str(ROOT / "runtimes" / "python" / "bootstrap.py")]

    async with running_runtime(command, env=env, cwd=folder) as runtime:
        plain = await runtime.invoke(b'{"text": "one two", "pause_s": 0}')
        over_http = await runtime.invoke(b'{"requestContext": {}, "text": "one", "pause_s": 0}')

    assert (plain.body, plain.headers["lambda-runtime-function-response-mode"]) == (b"one\ntwo\n", "streaming")
    assert over_http.body.endswith(bytes(8) + b"one\n")


async def test_bash_runtime_answers_with_the_event() -> None:
    folder = EXAMPLES / "bash-runtime"

    async with running_runtime([str(folder / "bootstrap")], env={"PATH": os.environ["PATH"]}, cwd=folder) as runtime:
        first = await runtime.invoke(b'{"name": "Ada"}')
        second = await runtime.invoke(b"[1, 2]")
        runtime.terminate()
        end = await runtime.exit()

    assert first.json() == {"bash": first.json()["bash"], "event": {"name": "Ada"}}  # type: ignore[index]
    assert second.json()["event"] == [1, 2]  # type: ignore[index]
    assert "got 15 bytes" in end.stderr
