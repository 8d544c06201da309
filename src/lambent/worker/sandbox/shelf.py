"""Sandboxes that stand ready before anybody wants them."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Generator, Mapping

from lambent.model.errors import PlatformError
from lambent.worker.sandbox.births import Births
from lambent.worker.sandbox.held import Held
from lambent.worker.sandbox.slot import Shape, WalledSlot
from lambent.worker.sandbox.stock import Stock
from lambent.worker.sandbox.walls import StepFailed
from lambent.worker.sandbox.wire import ExitStatus

log = logging.getLogger(__name__)

_COMING_MAXIMUM = 2
"""What is made for those to come shall leave a processor to those who are there."""


class Shelf:
    """Those that stand ready, and those that are about to; their owner until they are taken."""

    def __init__(self, stock: Stock, births: Births, chores: deque[Generator[None]]) -> None:
        self._stock = stock
        self._births = births
        self._chores = chores
        self._ready: dict[Shape, list[Held]] = {}
        self._coming: list[Held] = []
        self.has_failed = False
        """The last one that was begun came to nothing."""

    @property
    def ready_count(self) -> int:
        """How many stand ready."""
        return sum(map(len, self._ready.values()))

    @property
    def count(self) -> int:
        """How many stand ready, or are about to."""
        return self.ready_count + len(self._coming)

    @property
    def is_making(self) -> bool:
        """Whether some will stand ready soon."""
        return bool(self._coming)

    def take(self, shape: Shape) -> Held | None:
        """The one that has stood ready longest, for what waits in it has surely started. Not one that has just died."""
        shelf = self._ready.get(shape, [])
        while shelf:
            held = shelf.pop(0)
            if held.slot.generation is not None and not held.slot.generation.has_ended:
                return held
        return None

    def claim(self, shape: Shape) -> Held | None:
        """The one that is nearest to standing ready: it will, sooner than one that is not even begun."""
        held = next((held for held in self._coming if held.slot.shape == shape), None)
        if held is not None:
            self._coming.remove(held)
        return held

    def letting_go(self, kept: Mapping[Shape, int], at_most: int) -> Generator[None]:
        """Let go of some of the surplus."""
        for _ in range(at_most):
            held = self.surplus(kept)
            if held is None:
                return
            self._let_go(held)
            yield

    def surplus(self, kept: Mapping[Shape, int]) -> Held | None:
        """One that stands ready beyond what is kept."""
        return next((shelf[0] for shape, shelf in self._ready.items() if len(shelf) > kept.get(shape, 0)), None)

    def lacking(self, wanted: Mapping[Shape, int]) -> list[Shape]:
        """Each shape as often as it is wanted and neither there nor about to be."""
        lacking: list[Shape] = []
        for shape, count in wanted.items():
            there = len(self._ready.get(shape, ())) + sum(held.slot.shape == shape for held in self._coming)
            lacking += [shape] * (count - there)
        return lacking

    def stocking(
        self, wanted: Mapping[Shape, int], places_kept: int, *, at_once: int = _COMING_MAXIMUM
    ) -> Generator[None]:
        """Make what is wanted and not there, a few at a time; after a failure one, and if it fails no more."""
        for shape in self.lacking(wanted):
            if len(self._coming) >= at_once or self._stock.places_left <= places_kept:
                return
            yield from self._making(shape)
            if self.has_failed:
                return

    def close(self) -> None:
        """Give back those that stand ready, in which nothing runs any more."""
        for held in [held for shelf in self._ready.values() for held in shelf]:
            held.slot.close()

    def _making(self, shape: Shape) -> Generator[None]:
        try:
            held = Held((yield from self._stock.making(shape)), self)
        except (StepFailed, PlatformError) as exc:
            self._note_failure(exc)
            return
        self._coming.append(held)
        try:
            held.slot.hold_back()
        except StepFailed as failure:
            self.unborn(held, failure)
        else:
            self._births.ask(held)
        yield

    def _note_failure(self, failure: StepFailed | PlatformError) -> None:
        self.has_failed = True
        log.warning("sandbox.spare_not_made", extra={"reason": str(failure)})

    def _let_go(self, held: Held) -> None:
        """From now on nobody shall take it."""
        self._take_off(held)
        held.kill()

    def _take_off(self, held: Held) -> None:
        for shelf in (self._coming, self._ready.get(held.slot.shape, [])):
            if held in shelf:
                shelf.remove(held)

    # Their owner ------------------------------------------------------------------------------------------------------

    def unborn(self, held: Held, failure: StepFailed) -> None:
        self._note_failure(failure)
        self.ended(held)

    def booted(self, held: Held) -> None:
        """It stands ready, and an interpreter may start in it."""
        if held not in self._coming:  # it was let go of
            return
        self._coming.remove(held)
        assert isinstance(held.slot, WalledSlot), "nothing stands ready where nothing is isolated"
        try:
            held.slot.prewarm()
        except StepFailed as failure:
            self._note_failure(failure)
            held.kill()
        else:
            self.has_failed = False
            self._ready.setdefault(held.slot.shape, []).append(held)

    def failed(self, held: Held, failure: StepFailed) -> None:
        """Whoever makes one while somebody waits for it will be told."""

    def bereft(self, held: Held) -> None:
        self._let_go(held)

    def exited(self, held: Held, name: str, status: ExitStatus) -> None:
        """Nobody waits for what may have run in it."""

    def ended(self, held: Held) -> None:
        """Before anybody wanted it, as asked or not."""
        self._take_off(held)
        self._chores.append(self._stock.taking_back(held.slot))
