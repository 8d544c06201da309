"""Out through the APIs inside: a runtime that speaks garbage harms its own invocation at most.

Every attack is an event of one custom runtime. A bystander is asked after each, and the server is the same one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from containment_target import Target

from lambent.testing.service import make_zip

BOOTSTRAP = Path(__file__).with_name("rogue").joinpath("bootstrap").read_text()
CUSTOM = {"Runtime": "provided.al2023", "Handler": "none", "MemorySize": 512, "Timeout": 30}
MIB = 1 << 20

Rogue = Callable[..., Any]


def package() -> bytes:
    return make_zip({"bootstrap": BOOTSTRAP}, executable=("bootstrap",))


def alone(target: Target, function: str) -> str:
    """There shall be one environment of it, which so gets every event."""
    target.client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=1)
    return function


def patiently(target: Target, function: str, event: str) -> Any:
    """The environment may not have asked for its next event yet."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return target.invoke(function, event)
        except target.client.exceptions.TooManyRequestsException:
            assert time.monotonic() < deadline, "it never asked for more"


@pytest.fixture(scope="module")
def shared(target: Target) -> str:
    return alone(target, target.deploy("rogue", package(), **CUSTOM))


@pytest.fixture
def fresh(target: Target, victim: Callable[..., str]) -> Callable[..., str]:
    return lambda **parameters: alone(target, victim(package(), **CUSTOM, **parameters))


@pytest.fixture(scope="module")
def witness(target: Target) -> str:
    return target.deploy("witness", "def handler(event, context): return 'well'")


@pytest.fixture
def rogue(target: Target, shared: str, witness: str) -> Iterator[Rogue]:
    """Has the runtime attack; answers what the caller got and what the runtime got."""

    def attack(kind: str, function: str = shared) -> tuple[Any, Any]:
        return patiently(target, function, kind), patiently(target, function, "last")

    yield attack
    assert target.invoke(witness) == "well"
    assert target.service.process.poll() is None
    assert "http.handler_failed" not in target.service.log.read_text()


@pytest.fixture
def costs(target: Target) -> Callable[[], tuple[int, int]]:
    """What the server has more than before: descriptors, and MiB of memory."""
    server = psutil.Process(target.service.process.pid)
    before = server.num_fds(), server.memory_info().rss
    return lambda: (server.num_fds() - before[0], (server.memory_info().rss - before[1]) // MIB)


def test_no_descriptor_was_left_open_in_a_custom_runtime(rogue: Rogue) -> None:
    assert rogue("what_was_left_open")[1] == {"0": "/dev/null", "1": "pipe", "2": "pipe"}


def test_another_invocation_cannot_be_answered(rogue: Rogue) -> None:
    _, got = rogue("other_request_ids")
    assert got.pop("path") == 404
    assert set(got.values()) == {400, "400"}


def test_the_next_event_cannot_be_asked_for_before_this_one_is_answered(rogue: Rogue) -> None:
    assert rogue("early_next")[1] == [403, 403, 403]


def test_init_cannot_fail_any_more_once_it_has_ended(rogue: Rogue) -> None:
    assert rogue("init_error_in_the_middle")[1] == 403


def test_what_the_api_does_not_know_is_refused(rogue: Rogue) -> None:
    assert rogue("wrong_methods")[1] == {
        "post_next": 405,
        "get_response": 405,
        "delete": 405,
        "unknown_verb": 404,
        "unknown_path": 404,
        "restore": 404,
        "connect": "501",
        "nonsense": "400",
    }


def test_only_the_first_response_counts(rogue: Rogue) -> None:
    answer, got = rogue("two_responses")
    assert answer == "first"
    assert got == [202, 403, 403]


def test_one_response_is_read_at_a_time(rogue: Rogue) -> None:
    assert rogue("response_in_parallel")[1] == ["403"]


def test_giant_heads_are_refused(rogue: Rogue) -> None:
    assert set(rogue("giant_heads")[1].values()) == {"431"}


def test_whoever_sends_slowly_waits_alone(rogue: Rogue) -> None:
    assert rogue("slow")[1] == 200


def test_malformed_requests_are_refused_and_nothing_is_smuggled_behind_them(rogue: Rogue) -> None:
    """Where a second request follows the first, it must not be answered: parsers disagree about where it begins."""
    _, got = rogue("malformed")
    assert got.pop("http 0.9") == "closed"
    assert set(got.values()) == {"400"}


def test_a_response_beyond_the_limit_is_an_error_of_the_function(rogue: Rogue) -> None:
    for kind, status in (("too_large", 413), ("too_large_in_pieces", "413")):
        answer, got = rogue(kind)
        assert answer["errorType"] == "Function.ResponseSizeTooLarge"
        assert got == status


def test_an_error_type_cannot_forge_what_the_platform_says(rogue: Rogue) -> None:
    assert rogue("forged_error")[1] == "400"


def test_the_other_listener_keeps_from_functions_what_is_not_for_them(rogue: Rogue) -> None:
    _, got = rogue("inner_endpoint")
    assert {status for path, status in got.items() if "code" in path} <= {403, 404}
    assert set(got.values()) <= {400, 403, 404, "400"}
    assert got["unsigned list"] == 400


def test_a_flood_of_requests_is_answered_and_harms_nobody(rogue: Rogue, costs: Callable[[], tuple[int, int]]) -> None:
    assert rogue("pipelined")[1] == 30_000
    assert costs()[1] < 64


def test_thousands_of_connections_cost_the_server_a_few_hundred(
    fresh: Callable[..., str], rogue: Rogue, costs: Callable[[], tuple[int, int]]
) -> None:
    rogue("connections", fresh())

    descriptors, mebibytes = costs()

    assert descriptors < 64 + 512 + 64, "those of both listeners, and an environment's own"
    assert mebibytes < 64


def test_large_bodies_that_never_end_cost_the_server_a_few_megabytes(
    fresh: Callable[..., str], rogue: Rogue, costs: Callable[[], tuple[int, int]]
) -> None:
    rogue("heavy_bodies", fresh())

    assert costs()[1] < 96, "and not sixty times six"


def test_extensions_can_be_neither_forged_nor_without_number(
    target: Target, fresh: Callable[..., str], rogue: Rogue
) -> None:
    function = fresh(Environment={"Variables": {"ATTACK": "extensions"}})

    got = target.invoke(function, "last")

    assert got.pop("many") == 10
    subscribed, refused = got.pop("subscriptions"), got.pop("telemetry")
    assert subscribed == 17, "once, and then as often as subscriptions may be replaced"
    assert set(got.values()) == {403}
    assert set(refused.values()) == {400}, "telemetry goes to the environment itself and nowhere else"


def test_a_child_that_outlives_its_parent_does_not_outlive_its_environment(
    target: Target, fresh: Callable[..., str], rogue: Rogue
) -> None:
    """It has left its session, ignores every signal and holds the pipes; nobody waits for it."""
    function = fresh()
    answer, _ = rogue("daemon", function)
    uid = answer["uid"]
    assert len(_processes_of(uid)) == 3, "PID 1, the runtime and the child"

    target.client.delete_function(FunctionName=function)
    psutil.wait_procs(_processes_of(uid), timeout=20)

    assert _processes_of(uid) == []
    target.deploy(function, package(), **CUSTOM)


def _processes_of(uid: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.uids().real == uid:
                found.append(process)
        except psutil.NoSuchProcess:
            pass
    return found
