"""Environments forked from zygotes: nobody inside can tell, but by the clock."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from sandboxing import children_of, name_of

from lambent.testing.service import RunningService, deploy, running_service
from lambent.worker.runtimes import discover

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="real sandboxes are tested as root")

FORKED = """
def is_forked():
    "A forked process's first variables are its zygote's."
    with open("/proc/self/environ", "rb") as file:
        return b"AWS_LAMBDA_FUNCTION_NAME" not in file.read()
"""

FACTS = Path(__file__).with_name("functions").joinpath("facts.py").read_text()


@pytest.fixture
def forked(client: Any, function: Callable[..., str], invoke: Callable[..., Any]) -> Callable[..., str]:
    """Deploys a function and waits until a new environment of it is forked: its zygote may be starting."""

    def make(code: Any, **parameters: Any) -> str:
        name = function(code, **parameters)
        wait_until_forked(client, name)
        return name

    return make


def wait_until_forked(client: Any, name: str) -> None:
    deadline = time.monotonic() + 20
    while not json.loads(client.invoke(FunctionName=name, Payload='"is_forked"')["Payload"].read()):
        assert time.monotonic() < deadline, "no zygote became ready"
        time.sleep(0.05)
        renew(client, name)


def renew(client: Any, name: str) -> None:
    """Let the next invoke have a new environment."""
    number = str(time.monotonic_ns())
    variables = client.get_function_configuration(FunctionName=name).get("Environment", {}).get("Variables", {})
    client.update_function_configuration(FunctionName=name, Environment={"Variables": {**variables, "RENEWED": number}})
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.02, "MaxAttempts": 200})


INSTALLED = [one.runtime for one in discover() if one.language == "python" and one.is_complete]


@pytest.mark.parametrize("runtime", sorted(set(INSTALLED)))
def test_a_forked_runtime_finds_what_an_executed_one_finds(
    forked: Callable[..., str], function: Callable[..., str], invoke: Callable[..., Any], runtime: str
) -> None:
    settings = {"MemorySize": 256, "Runtime": runtime}
    born = forked(FACTS, Environment={"Variables": {"PLAIN": "ü"}}, **settings)
    run = function(FACTS, Environment={"Variables": {"PLAIN": "ü", "PYTHONHASHSEED": "0", "RENEWED": "x"}}, **settings)

    found, _ = invoke(born)
    expected, _ = invoke(run)

    assert invoke(run, "is_forked")[0] is False
    assert found == expected
    assert found["pid"] == 2
    assert found["processes"] == [2], "PID 1 shows itself to nobody"
    assert found["descriptors"].keys() - {"0", "1", "2"} == {"3"}, "the connection to the Runtime API"
    assert found["status"]["Threads"] == "1"
    assert found["scheduling"] == os.SCHED_BATCH, "waking, it takes the processor from nobody"
    assert found["processors"] == sorted(os.sched_getaffinity(0)), "those of the server"


RANDOM = (
    FORKED
    + """
import os, random, secrets, ssl, tempfile, uuid
def handler(event, context):
    if event == "is_forked":
        return is_forked()
    return [random.random(), os.urandom(8).hex(), str(uuid.uuid4()), str(uuid.uuid1()), secrets.token_hex(8),
            ssl.RAND_bytes(8).hex(), tempfile.mktemp()]
"""
)
SDK = "import boto3\n" + RANDOM


@pytest.mark.parametrize("code", [RANDOM, SDK], ids=["client", "sdk"])
def test_no_two_environments_draw_the_same_numbers(
    client: Any, forked: Callable[..., str], invoke: Callable[..., Any], code: str
) -> None:
    """Those of the SDK's zygote have `random`, `ssl` and `uuid` from it, with whatever state they had there."""
    name = forked(code)
    drawn = []
    for _ in range(3):
        renew(client, name)
        assert invoke(name, "is_forked")[0] is True
        drawn.append(invoke(name)[0])

    for numbers in zip(*drawn, strict=True):
        assert len(set(numbers)) == 3, numbers


def test_the_sdk_comes_from_the_zygote_or_from_the_package_that_brings_it(
    client: Any, forked: Callable[..., str], invoke: Callable[..., Any]
) -> None:
    code = FORKED + (
        "import sys\nloaded = 'botocore.client' in sys.modules\nimport boto3\n"
        "def handler(event, context):\n"
        "    return is_forked() if event == 'is_forked' else [loaded, boto3.__version__, boto3.__file__]\n"
    )
    with_ours = forked(code)
    with_own = forked({"app.py": code, "boto3/__init__.py": "__version__ = 'their own'\n"})

    assert invoke(with_own)[0] == [False, "their own", "/var/task/boto3/__init__.py"]
    deadline = time.monotonic() + 20
    while not (answer := invoke(with_ours)[0])[0]:  # the zygote with the SDK takes longer to be ready
        assert time.monotonic() < deadline, answer
        renew(client, with_ours)
    assert answer[2] == "/var/runtime/site-packages/boto3/__init__.py"


def test_a_package_that_brings_a_module_the_zygote_has_gets_its_own(
    function: Callable[..., str], invoke: Callable[..., Any]
) -> None:
    code = FORKED + "import ctypes\ndef handler(event, context): return [is_forked(), ctypes.whose]\n"
    name = function({"app.py": code, "ctypes.py": "whose = 'the function'\n"})

    assert invoke(name)[0] == [False, "the function"]


CRASHING = (
    FORKED
    + """
import os, pathlib
def handler(event, context):
    if event == "is_forked":
        return is_forked()
    mark = pathlib.Path("/tmp/mark")
    if event == "crash":
        mark.write_text("left")
        os._exit(7)
    return [is_forked(), os.getpid(), mark.read_text()]
"""
)


def test_after_a_crash_the_next_generation_is_forked_too_and_finds_tmp(
    service: RunningService, forked: Callable[..., str], invoke: Callable[..., Any]
) -> None:
    name = forked(CRASHING)

    failure, response = invoke(name, "crash")
    assert response["FunctionError"] == "Unhandled"
    assert failure["errorMessage"].endswith("exit status 7")
    wait_until_nothing_is_busy(service)
    assert invoke(name)[0] == [True, 2, "left"]


def wait_until_nothing_is_busy(service: RunningService) -> None:
    """An environment that is being reset counts as busy; who comes before it is done gets another one."""
    deadline = time.monotonic() + 20
    while True:
        with urllib.request.urlopen(f"{service.endpoint_url}/_lambent/environments") as answer:
            if not json.load(answer)["busy"]:
                return
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def own_service(tmp_path: Path) -> Iterator[RunningService]:
    """Where nothing stands ready, so that every environment is forked when it is wanted."""
    with running_service(tmp_path / "data", "--egress", "none", spare_sandboxes=0) as running:
        yield running


def zygotes_of(service: RunningService) -> list[psutil.Process]:
    below = psutil.Process(service.process.pid).children(recursive=True)
    return [process for process in below if name_of(process) == "lambent-zygote"]


def test_a_killed_zygote_is_replaced_and_its_children_live_on(own_service: RunningService) -> None:
    client = own_service.client()
    name = deploy(client, "f", CRASHING)
    wait_until_forked(client, name)
    (zygote,) = zygotes_of(own_service)

    zygote.kill()
    zygote.wait(10)
    assert json.loads(client.invoke(FunctionName=name, Payload='"is_forked"')["Payload"].read()) is True
    deploy(client, "g", "def handler(event, context): return 'answered'\n")
    assert json.loads(client.invoke(FunctionName="g")["Payload"].read()) == "answered"

    renew(client, name)
    wait_until_forked(client, name)
    assert zygote.pid not in [one.pid for one in zygotes_of(own_service)]


def test_a_zygote_that_hangs_costs_seconds_and_is_replaced(own_service: RunningService) -> None:
    client = own_service.client()
    name = deploy(client, "f", CRASHING)
    wait_until_forked(client, name)
    (zygote,) = zygotes_of(own_service)

    zygote.suspend()
    renew(client, name)
    assert json.loads(client.invoke(FunctionName=name, Payload='"is_forked"')["Payload"].read()) is False
    assert not zygote.is_running()
    renew(client, name)
    wait_until_forked(client, name)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="takes two processors")
def test_zygotes_leave_sandboxd_a_processor_of_its_own(own_service: RunningService) -> None:
    wait_until_forked(own_service.client(), deploy(own_service.client(), "f", CRASHING))
    sandboxd = psutil.Process(own_service.process.pid).children()[0]
    (zygote,) = zygotes_of(own_service)
    (plain,) = [one for one in sandboxd.children() if one.name() == "lambent-plain"]

    (own,) = sandboxd.cpu_affinity()
    others = os.sched_getaffinity(0) - {own}
    assert set(zygote.cpu_affinity()) == set(plain.cpu_affinity()) == others


def test_an_idle_environment_holds_little_memory_of_its_own(own_service: RunningService) -> None:
    client = own_service.client()
    code = FORKED + "def handler(event, context): return is_forked()\n"
    names = [deploy(client, f"f{number}", code) for number in range(4)]
    for name in names:
        wait_until_forked(client, name)
    wait_until_executed_ones_are_gone(own_service)
    (zygote,) = zygotes_of(own_service)
    sandboxd = psutil.Process(own_service.process.pid).children()[0]
    inits = [child for child in sandboxd.children() if child.pid != zygote.pid]
    inside = [process for init in inits for process in (init, *init.children())]

    private_bytes = sum(process.memory_full_info().uss for process in inside)

    assert private_bytes / len(inits) < 3.5 * 2**20


def wait_until_executed_ones_are_gone(service: RunningService) -> None:
    """Until the environments that were executed before the zygote was ready have made room."""
    deadline = time.monotonic() + 20
    while any(name_of(one) == "python" for one in children_of(service.process.pid)[1:]):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_zygotes_end_with_the_server_however_it_ends(tmp_path: Path) -> None:
    for end in ("stop", "kill"):
        with running_service(tmp_path / end, "--egress", "none") as service:
            name = deploy(service.client(), "f", CRASHING)
            wait_until_forked(service.client(), name)
            below = psutil.Process(service.process.pid).children(recursive=True)
            assert zygotes_of(service)
            getattr(service, end)()
            _, alive = psutil.wait_procs(below, timeout=10)
            assert not alive
