"""PID 1s to be: in which order zygotes are asked for them, and what becomes of them when a zygote is lost."""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lambent.worker.sandbox import inner_wire, wire
from lambent.worker.sandbox.births import Births
from lambent.worker.sandbox.generations import Generations
from lambent.worker.sandbox.held import Held
from lambent.worker.sandbox.inner_wire import Ground, Setup
from lambent.worker.sandbox.plan import SandboxPlan
from lambent.worker.sandbox.slot import Generation
from lambent.worker.sandbox.walls import StepFailed
from lambent.worker.sandbox.zygote_start import Started
from lambent.worker.sandbox.zygotes import PLAIN, Zygote, Zygotes

NAMED = "python3.12"
FIRST_PID = 5_000_000  # the kernel has none as high


class Acted(Zygote):
    """A zygote that the test plays."""

    def __init__(self, name: str, pid: int) -> None:
        ours, self.theirs = wire.socket_pair()
        super().__init__(name, Started(pid, ours))
        self.is_ready = True
        self.controls: list[int] = []

    def order(self) -> Setup:
        """Read what is asked for next."""
        packet, descriptors = inner_wire.receive(self.theirs)
        assert packet
        for descriptor in descriptors[1:]:
            os.close(descriptor)
        self.controls.append(descriptors[0])
        return Setup(None, descriptors[0], -1, -1, (), False)

    def orders_waiting(self) -> int:
        self.theirs.setblocking(False)
        count = 0
        while True:
            try:
                self.order()
            except BlockingIOError:
                return count
            count += 1

    def answer(self, pid: int) -> None:
        inner_wire.send(self.theirs, "Forked", [os.open("/dev/null", os.O_RDONLY)], pid=pid)

    def kill(self) -> None:
        self.is_ready = False
        self.theirs.close()


class Stage(Zygotes):
    """Zygotes that are acted."""

    def __init__(self) -> None:
        super().__init__((), Ground(-1, -1, b"", 0, (0,), ()), is_root=False)
        self.started: list[Acted] = []

    def start_plain(self) -> Acted:
        return self._act(PLAIN)

    def start_named(self) -> Acted:
        return self._act(NAMED)

    def _act(self, name: str) -> Acted:
        zygote = Acted(name, FIRST_PID + len(self.started))
        self.started.append(zygote)
        self._keep(zygote)
        return zygote


class FakeSlot:
    """What births ask of a slot."""

    def __init__(self, zygote: str | None) -> None:
        self.shape = SimpleNamespace(zygote=zygote)
        self.generation: Generation | None = None
        self.is_killed = False

    def setup(self, control: int) -> Setup:
        return Setup(None, control, control, control, (), False)

    def kill(self) -> None:
        self.is_killed = True


class Scene:
    """Births, the zygotes that the test plays, and what owners are told."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.stage = Stage()
        self.births = Births(self.selector, self.stage, Generations(self.selector))
        self.told: list[tuple[str, str]] = []
        self.all: list[Held] = []

    def ask(self, name: str, zygote: str | None = None, *, is_wanted: bool = True) -> Held:
        plan = cast(SandboxPlan, SimpleNamespace(sandbox_id=name)) if is_wanted else None
        held = Held(cast(Any, FakeSlot(zygote)), cast(Any, Told(name, self.told)), plan)
        self.births.ask(held)
        self.all.append(held)
        return held

    def start_named(self) -> Acted:
        zygote = self.stage.start_named()
        self.births._listen(zygote)
        return zygote

    @property
    def plain(self) -> Acted:
        return self.stage.started[-1]

    def hear(self) -> None:
        """Until there is nothing to be heard."""
        while ready := [key.data for key, _ in self.selector.select(0) if isinstance(key.data, Zygote)]:
            for zygote in ready:
                self.births.hear(zygote)

    def born(self) -> list[int]:
        return [held.slot.generation.pid for held in self.all if held.slot.generation is not None]


class Told:
    """An owner that keeps what it is told."""

    def __init__(self, name: str, told: list[tuple[str, str]]) -> None:
        self._name = name
        self._told = told

    def unborn(self, held: Held, failure: StepFailed) -> None:
        self._told.append((self._name, f"{failure.step}: {failure.error}"))

    def ended(self, held: Held) -> None:
        self._told.append((self._name, "ended"))


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.births.close()
    for held in made.all:
        if held.slot.generation is not None:
            held.slot.generation.close()
    for zygote in made.stage.started:
        zygote.theirs.close()
        for control in zygote.controls:
            os.close(control)


def test_an_answer_is_about_whoever_was_asked_for_first(scene: Scene) -> None:
    first, second = scene.ask("first"), scene.ask("second")

    scene.plain.answer(101)
    scene.plain.answer(102)
    scene.hear()

    assert [held.slot.generation.pid for held in (first, second) if held.slot.generation] == [101, 102]
    assert not first.unborn
    assert scene.told == []


def test_a_zygote_is_asked_for_a_few_at_once_and_for_the_next_when_it_has_answered(scene: Scene) -> None:
    for number in range(6):
        scene.ask(str(number))
    assert scene.plain.orders_waiting() == 4

    scene.plain.answer(101)
    scene.hear()

    assert scene.plain.orders_waiting() == 1


def test_who_is_waited_for_comes_before_what_is_made_ahead(scene: Scene) -> None:
    for number in range(4):
        scene.ask(f"asked-{number}", is_wanted=False)
    ahead, wanted = scene.ask("ahead", is_wanted=False), scene.ask("wanted")

    for pid in range(101, 106):
        scene.plain.answer(pid)
    scene.hear()

    assert wanted.slot.generation is not None
    assert ahead.unborn is not None


def test_all_that_a_lost_zygote_was_asked_for_are_asked_of_the_plain_one(scene: Scene) -> None:
    plain, named = scene.plain, scene.start_named()
    for number in range(6):
        scene.ask(str(number), NAMED)
    named.orders_waiting()
    named.answer(101)

    named.theirs.close()
    scene.hear()
    for pid in range(102, 107):
        plain.answer(pid)
        scene.hear()

    assert scene.born() == [101, 102, 103, 104, 105, 106]
    assert scene.told == []


def test_what_a_lost_zygote_was_asked_for_has_no_wire_any_more(scene: Scene) -> None:
    """So what it may have forked ends."""
    named = scene.start_named()
    scene.ask("first", NAMED)
    with socket.socket(fileno=os.dup(named.order().control)) as control:
        named.theirs.close()
        scene.hear()

        assert control.recv(1) == b""


def test_only_who_was_asked_for_first_has_cost_a_plain_zygote(scene: Scene) -> None:
    deadly, others = scene.ask("deadly"), [scene.ask(str(number)) for number in range(5)]
    for _ in range(2):
        scene.plain.theirs.close()
        scene.hear()
    for pid in range(101, 106):
        scene.plain.answer(pid)
        scene.hear()

    assert scene.told == [("deadly", "fork: the zygote was lost")]
    assert deadly.unborn is None
    assert scene.born() == [101, 102, 103, 104, 105]
    assert all(held.slot.generation for held in others)


def test_a_zygote_that_does_not_answer_in_time_is_lost(scene: Scene) -> None:
    scene.ask("first")
    hanging, now_s = scene.plain, time.monotonic()
    assert (scene.births.patience_s(now_s=now_s) or 0.0) > 0.0

    scene.births.lose_overdue([], now_s=now_s + 6)

    assert hanging.is_lost
    assert scene.plain.orders_waiting() == 1


def test_a_zygote_has_its_time_for_each_of_those_it_is_asked_for(scene: Scene) -> None:
    scene.ask("first")
    scene.ask("second")
    scene.plain.heard_s -= 6
    scene.plain.answer(101)
    scene.hear()

    scene.births.lose_overdue([], now_s=time.monotonic())

    assert not scene.plain.is_lost


def test_a_zygote_whose_answer_waits_to_be_read_does_not_hang(scene: Scene) -> None:
    scene.ask("first")

    scene.births.lose_overdue([scene.plain.control], now_s=time.monotonic() + 6)

    assert not scene.plain.is_lost


def test_nobody_waits_for_a_zygote_that_was_not_asked(scene: Scene) -> None:
    assert scene.births.patience_s(now_s=time.monotonic()) is None
    assert not scene.births.are_pending


def test_who_is_no_longer_wanted_is_not_asked_for(scene: Scene) -> None:
    asked = [scene.ask(str(number)) for number in range(4)]
    unwanted = scene.ask("unwanted")
    assert scene.plain.orders_waiting() == 4

    unwanted.kill()
    scene.plain.answer(101)
    scene.hear()

    assert scene.told == [("unwanted", "ended")]
    assert scene.plain.orders_waiting() == 0
    assert asked[0].slot.generation is not None


def test_who_is_no_longer_wanted_once_asked_for_is_killed_when_born(scene: Scene) -> None:
    held = scene.ask("unwanted")

    held.kill()
    scene.plain.answer(101)
    scene.hear()

    assert held.slot.generation is not None
    assert cast(FakeSlot, held.slot).is_killed


def test_who_is_no_longer_wanted_when_its_zygote_is_lost_has_ended(scene: Scene) -> None:
    held = scene.ask("unwanted")
    held.kill()

    scene.plain.theirs.close()
    scene.hear()

    assert scene.told == [("unwanted", "ended")]


def test_who_cannot_be_built_is_told_so_and_the_next_goes_on(scene: Scene) -> None:
    scene.ask("broken")
    whole = scene.ask("whole")

    inner_wire.send(scene.plain.theirs, "NotForked", step="mount /tmp", error="no such device")
    scene.plain.answer(102)
    scene.hear()

    assert scene.told == [("broken", "mount /tmp: no such device")]
    assert whole.slot.generation is not None


def test_a_zygote_that_speaks_unasked_is_lost(scene: Scene) -> None:
    zygote = scene.plain
    zygote.answer(101)
    scene.hear()

    assert zygote.is_lost


def test_a_zygote_that_was_reaped_is_heard_to_the_end(scene: Scene) -> None:
    first, second = scene.ask("first"), scene.ask("second")
    zygote = scene.plain
    zygote.orders_waiting()
    zygote.answer(101)
    zygote.theirs.close()

    assert scene.births.reaped(zygote.pid, was_killed=True)

    assert first.slot.generation is not None
    assert second.unborn is not None
    assert scene.plain.orders_waiting() == 1


@pytest.mark.parametrize("was_killed", [True, False])
def test_a_plain_zygote_is_replaced_at_once_unless_it_has_failed(scene: Scene, was_killed: bool) -> None:
    zygote = scene.plain
    zygote.theirs.close()
    scene.hear()

    scene.births.reaped(zygote.pid, was_killed=was_killed)
    assert (scene.plain is not zygote) == was_killed

    scene.ask("first")
    assert scene.plain.orders_waiting() == 1


def test_a_pid_1_may_be_reaped_before_its_zygote_has_told_of_it(scene: Scene) -> None:
    held = scene.ask("short-lived")
    generations = scene.births._generations
    assert not generations.reaped(101)
    generations.reaped_unknown(101, may_be_born=scene.births.are_pending)

    scene.plain.order()
    scene.plain.answer(101)
    os.close(scene.plain.controls.pop())
    scene.hear()

    assert scene.told == [("short-lived", "ended")]
    assert held.slot.generation is None
