"""Sandboxes that stand ready, and those that are about to."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Generator
from typing import cast

import pytest

from lambent.worker.sandbox.births import Births
from lambent.worker.sandbox.held import Held
from lambent.worker.sandbox.shelf import Shelf
from lambent.worker.sandbox.slot import Generation, Shape, Slot, WalledSlot
from lambent.worker.sandbox.stock import Stock
from lambent.worker.sandbox.walls import StepFailed

PYTHON, NODE = Shape("python3.13", 512, 1024), Shape("nodejs22.x", 512, 1024)


class FakeSlot(WalledSlot):
    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.generation = Generation(0, socket.socketpair()[0])

    def hold_back(self) -> None:
        pass

    def prewarm(self) -> None:
        pass

    def kill(self) -> None:
        pass


class FakeStock:
    places_left = 100
    is_failing = False
    asked = 0

    def making(self, shape: Shape) -> Generator[None, None, Slot]:
        yield
        self.asked += 1
        if self.is_failing:
            raise StepFailed("make cgroups", OSError("no space left"))
        return cast(Slot, FakeSlot(shape))


class FakeBirths:
    def __init__(self) -> None:
        self.asked: list[Held] = []

    def ask(self, held: Held) -> None:
        self.asked.append(held)


@pytest.fixture
def births() -> FakeBirths:
    return FakeBirths()


@pytest.fixture
def slots() -> FakeStock:
    return FakeStock()


@pytest.fixture
def shelf(slots: FakeStock, births: FakeBirths) -> Shelf:
    return Shelf(cast(Stock, slots), cast(Births, births), deque())


def stock(shelf: Shelf, wanted: dict[Shape, int]) -> None:
    for _ in shelf.stocking(wanted, places_kept=0):
        pass


def stand_ready(shelf: Shelf, births: FakeBirths, shape: Shape, count: int) -> None:
    while shelf.ready_count < count:
        stock(shelf, {shape: count})
        for held in births.asked:
            shelf.booted(held)  # those that stand ready already are not made so again


def test_only_a_few_are_made_at_a_time(shelf: Shelf, births: FakeBirths) -> None:
    stock(shelf, {PYTHON: 16})

    assert len(births.asked) == 2


def test_who_finds_none_ready_is_given_the_one_that_was_begun_first(shelf: Shelf, births: FakeBirths) -> None:
    stock(shelf, {PYTHON: 2})

    assert shelf.take(PYTHON) is None
    assert shelf.claim(PYTHON) is births.asked[0]
    assert shelf.claim(PYTHON) is births.asked[1]
    assert shelf.claim(PYTHON) is None


def test_what_was_begun_for_others_is_given_to_nobody_else(shelf: Shelf) -> None:
    stock(shelf, {NODE: 1})

    assert shelf.claim(PYTHON) is None
    assert shelf.claim(NODE) is not None


def test_another_is_made_for_one_that_was_given_away(shelf: Shelf, births: FakeBirths) -> None:
    stock(shelf, {PYTHON: 2})
    shelf.claim(PYTHON)

    stock(shelf, {PYTHON: 2})

    assert len(births.asked) == 3


def test_of_a_surplus_as_many_are_let_go_as_are_asked_for(shelf: Shelf, births: FakeBirths) -> None:
    stand_ready(shelf, births, PYTHON, 5)

    steps = sum(1 for _ in shelf.letting_go({PYTHON: 3}, at_most=1))

    assert (steps, shelf.ready_count) == (1, 4)
    assert sum(1 for _ in shelf.letting_go({PYTHON: 3}, at_most=100)) == 1
    assert shelf.surplus({PYTHON: 3}) is None
    assert shelf.ready_count == 3


def test_what_is_kept_no_longer_is_surplus(shelf: Shelf, births: FakeBirths) -> None:
    stand_ready(shelf, births, PYTHON, 1)

    assert shelf.surplus({PYTHON: 1}) is None
    assert shelf.surplus({NODE: 1}) is not None
    assert shelf.lacking({NODE: 2}) == [NODE, NODE]


def test_where_one_cannot_be_made_no_more_are_tried_at_once(shelf: Shelf, slots: FakeStock) -> None:
    slots.is_failing = True

    stock(shelf, {PYTHON: 16, NODE: 2})

    assert slots.asked == 1


def test_a_failure_shows_until_one_stands_ready_again(shelf: Shelf, slots: FakeStock, births: FakeBirths) -> None:
    slots.is_failing = True
    stock(shelf, {PYTHON: 1})
    assert shelf.has_failed

    slots.is_failing = False
    stand_ready(shelf, births, PYTHON, 1)
    assert not shelf.has_failed
