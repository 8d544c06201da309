"""The child of PID 1 that waits to become a runtime: who tells it, and whose end its end is."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from lambent.worker.sandbox import wire
from lambent.worker.sandbox.inner_wire import FORKED, Process
from lambent.worker.sandbox.slot import Generation

RUNTIME = Process(FORKED, ["/usr/bin/python3"], {"A": "1"}, "/var/task", is_forked=True)


@dataclass
class Womb:
    generation: Generation
    told: int
    """Where the child would read."""

    def die(self) -> None:
        if self.told >= 0:
            os.close(self.told)
        self.told = -1


@pytest.fixture
def womb() -> Iterator[Womb]:
    control, other = wire.socket_pair()
    told, tell = os.pipe()
    generation = Generation(1, control, mount_namespace=os.open("/dev/null", os.O_RDONLY), tell=tell)
    yield (womb := Womb(generation, told))
    womb.die()
    generation.close()
    other.close()


def test_the_child_that_waits_is_told_to_the_end_of_what_it_reads(womb: Womb) -> None:
    assert womb.generation.quicken(RUNTIME)

    assert Process(*json.loads(os.read(womb.told, 4096))) == RUNTIME
    assert os.read(womb.told, 4096) == b""


def test_it_becomes_one_process_only(womb: Womb) -> None:
    womb.generation.quicken(RUNTIME)

    assert not womb.generation.quicken(RUNTIME)


@pytest.mark.parametrize("process", [RUNTIME._replace(is_forked=False), RUNTIME._replace(name="extension:a")])
def test_what_is_to_be_executed_is_not_for_it(womb: Womb, process: Process) -> None:
    assert not womb.generation.quicken(process)
    assert womb.generation.quicken(RUNTIME)


def test_its_end_before_it_is_told_is_nobodys(womb: Womb) -> None:
    assert womb.generation.bury(FORKED)
    assert not womb.generation.quicken(RUNTIME)


def test_its_end_once_told_is_the_runtimes(womb: Womb) -> None:
    womb.generation.quicken(RUNTIME)

    assert not womb.generation.bury(FORKED)


def test_the_end_of_another_process_is_its_own(womb: Womb) -> None:
    assert not womb.generation.bury("extension:a")
    assert womb.generation.quicken(RUNTIME)


def test_an_end_reported_after_the_child_could_not_be_told_is_not_its_successors(womb: Womb) -> None:
    womb.die()

    assert not womb.generation.quicken(RUNTIME), "PID 1 has to fork another"
    assert womb.generation.bury(FORKED)
    assert not womb.generation.bury(FORKED)
