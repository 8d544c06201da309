"""One process imports the client, and runtimes are forked from it: nothing of one is left in another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lambent.testing.runtime_process import running_runtime

HERE = Path(__file__).parent
CLIENT = HERE.parents[2] / "runtimes" / "python"

FORKING = """
import os, sys
sys.path.insert(0, {client!r})
from lambent_runtime import loop
{preloaded}
before = dict(os.environ)
child = os.fork()
if child == 0:
    os.environ["_HANDLER"] = "calls.handler"
    os.environ["LAMBDA_TASK_ROOT"] = {functions!r}
    os.environ["AWS_LAMBDA_FUNCTION_NAME"] = "forked"
    loop.main()
os.waitpid(child, 0)
assert os.environ == before and {functions!r} not in sys.path
print("untouched")
"""


@pytest.mark.parametrize("preloaded", ["", "import logging"])
async def test_a_runtime_can_be_forked_from_a_process_that_has_imported_the_client(python: str, preloaded: str) -> None:
    functions = HERE / "functions"
    code = FORKING.format(client=str(CLIENT), functions=str(functions), preloaded=preloaded)

    async with running_runtime([python, "-S", "-c", code], env={}, cwd=functions) as runtime:
        fields: Any = (await runtime.invoke(b'{"call": "context_fields"}')).json()
        handlers = await runtime.invoke(json.dumps({"call": "logs"}).encode())
        end = await runtime.stop()

    assert fields["fields"]["function_name"] == "forked"
    assert handlers.json() == ["LambdaLoggerHandler"]
    assert "[WARNING]\t" in end.stdout
    assert end.stdout.endswith("untouched\n")
