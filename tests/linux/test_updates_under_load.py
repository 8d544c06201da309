"""Invokes while code and configuration change every second: none fails, and none is answered by what came before.

Small by default; LAMBENT_UPDATES_INVOKES=10000 LAMBENT_UPDATES_FUNCTIONS=50 is the size that is promised.
"""

from __future__ import annotations

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lambent.testing.service import RunningService, deploy, make_zip, running_service

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="real sandboxes are tested as root"),
    pytest.mark.timeout(900),
]

INVOKES = int(os.environ.get("LAMBENT_UPDATES_INVOKES", "400"))
FUNCTIONS = int(os.environ.get("LAMBENT_UPDATES_FUNCTIONS", "4"))
CALLERS = 8
UPDATERS = 4
UPDATE_EVERY_S = 1.0


def code(generation: int) -> bytes:
    text = f"import os\ndef handler(event, context): return [{generation}, int(os.environ['GENERATION'])]\n"
    return make_zip({"app.py": text})


class Function:
    """One function, and the generations of its code and configuration whose updates have completed."""

    def __init__(self, service: RunningService, name: str) -> None:
        self.name = name
        self.completed = (0, 0)
        deploy(service.client(), name, code(0), Environment={"Variables": {"GENERATION": "0"}})

    def update(self, client: Any, generation: int) -> None:
        """Change code and configuration in turn; return when the change has completed."""
        if generation % 2:
            client.update_function_code(FunctionName=self.name, ZipFile=code(generation))
        else:
            variables = {"GENERATION": str(generation)}
            client.update_function_configuration(FunctionName=self.name, Environment={"Variables": variables})
        waiter = client.get_waiter("function_updated_v2")
        waiter.wait(FunctionName=self.name, WaiterConfig={"Delay": 0.02, "MaxAttempts": 1_000})
        code_generation, variable_generation = self.completed
        self.completed = (generation, variable_generation) if generation % 2 else (code_generation, generation)

    def invoke(self, client: Any) -> str | None:
        """What is wrong with the answer, if anything is."""
        completed = self.completed
        response = client.invoke(FunctionName=self.name)
        answer = json.load(response["Payload"])
        if "FunctionError" in response:
            return f"{self.name} failed: {answer}"
        is_stale = answer[0] < completed[0] or answer[1] < completed[1]
        return f"{self.name} answered {answer} after {completed} had completed" if is_stale else None


def test_no_invoke_fails_or_is_answered_by_an_older_version_while_functions_are_updated(tmp_path: Path) -> None:
    with running_service(tmp_path / "data", "--egress", "none") as service:
        functions = [Function(service, f"f{number}") for number in range(FUNCTIONS)]
        with ThreadPoolExecutor(CALLERS + UPDATERS) as pool:
            done = threading.Event()
            updaters = [
                pool.submit(keep_updating, service, functions[part::UPDATERS], done) for part in range(UPDATERS)
            ]
            callers = [pool.submit(keep_invoking, service, functions, INVOKES // CALLERS) for _ in range(CALLERS)]
            try:
                wrong = [problem for caller in callers for problem in caller.result()]
            finally:
                done.set()
            updates = sum(updater.result() for updater in updaters)

    assert wrong == []
    assert updates >= FUNCTIONS


def keep_updating(service: RunningService, functions: list[Function], done: threading.Event) -> int:
    client, generation = service.client(), 0
    while not done.is_set():
        began = time.monotonic()
        generation += 1
        for function in functions:
            function.update(client, generation)
        done.wait(max(0.0, began + UPDATE_EVERY_S - time.monotonic()))
    return generation * len(functions)


def keep_invoking(service: RunningService, functions: list[Function], count: int) -> list[str]:
    client = service.client()
    found = (functions[number % len(functions)].invoke(client) for number in range(count))
    return [problem for problem in found if problem is not None]
