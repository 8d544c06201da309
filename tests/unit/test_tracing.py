"""Which X-Amzn-Trace-Id an invocation carries, with chance and clock in the test's hands."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from test_log_writer import version

from lambent.invoke.tracing import Tracing

PASS_THROUGH = version()
ACTIVE = replace(PASS_THROUGH, tracing_mode="Active")
ROOT, PARENT = "1-5e34a614-10bdaf1f1fb44f07bc535a1a", "07f5a3c2d1f6f850"


class World:
    now = 1_700_000_000.0
    chance = 0.5

    def tracing(self) -> Tracing:
        return Tracing(now=lambda: self.now, bits=lambda count: 1, draw=lambda: self.chance)


def test_where_there_is_none_a_header_is_made_and_not_sampled() -> None:
    header = World().tracing().header(None, PASS_THROUGH)

    assert header == f"Root=1-6553f100-{0:024x};Parent={1:016x};Sampled=0"


@pytest.mark.parametrize("version", [PASS_THROUGH, ACTIVE])
@pytest.mark.parametrize("decision", ["0", "1"])
def test_the_callers_decision_stands(version: object, decision: str) -> None:
    given = f"Root={ROOT};Parent={PARENT};Sampled={decision};Lineage=1:abc:0"

    assert World().tracing().header(given, version) == given  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (f"Root={ROOT}", f"Root={ROOT};Parent={1:016x};Sampled=0"),
        (f"Root={ROOT};Parent={PARENT};Sampled=?", f"Root={ROOT};Parent={PARENT};Sampled=0"),
        (f"Sampled=1;Root={ROOT}; Lineage=1:abc:0", f"Root={ROOT};Parent={1:016x};Sampled=1;Lineage=1:abc:0"),
    ],
)
def test_what_the_caller_leaves_open_is_filled_in(given: str, expected: str) -> None:
    assert World().tracing().header(given, PASS_THROUGH) == expected


@pytest.mark.parametrize("given", ["", "nonsense", "Root=me;Parent;Sampled", ";;=;"])
def test_nonsense_becomes_a_header_of_its_own(given: str) -> None:
    header = World().tracing().header(given, PASS_THROUGH)

    assert re.match(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0", header)


def test_active_tracing_samples_one_request_a_second_and_five_percent_of_the_others() -> None:
    world = World()
    tracing = world.tracing()

    def decision() -> str:
        return tracing.header(None, ACTIVE)[-1]

    assert [decision() for _ in range(3)] == ["1", "0", "0"]
    world.chance = 0.04
    assert decision() == "1"
    world.chance, world.now = 0.06, world.now + 1
    assert [decision() for _ in range(2)] == ["1", "0"]
