"""Slots: made when they are wanted, or before. Those made before are blank: everything is there but a process.

A blank takes no memory but the kernel's, so more of them are kept than of sandboxes that stand ready, and bursts
find them.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Generator

from lambent.model.errors import PlatformError
from lambent.model.limits import EPHEMERAL_STORAGE_MIB_MINIMUM, PROCESSES
from lambent.worker.sandbox.host import Host
from lambent.worker.sandbox.slot import OpenSlot, Shape, Slot, WalledSlot
from lambent.worker.sandbox.walls import StepFailed

log = logging.getLogger(__name__)

_BLANK = Shape(zygote=None, ephemeral_storage_mib=EPHEMERAL_STORAGE_MIB_MINIMUM, pids_maximum=PROCESSES)
"""Of what makes a shape, only the size of /tmp is in a slot before a process is."""


class Stock:
    """Slots that are in nobody's hands, and the places that no slot takes up. What is left at the end goes with us."""

    def __init__(self, host: Host, free: deque[int]) -> None:
        self._host = host
        self._free = free
        self._blanks: deque[Slot] = deque()

    @property
    def has_blanks(self) -> bool:
        return bool(self._blanks)

    @property
    def places_left(self) -> int:
        return len(self._free)

    def make_now(self, shape: Shape) -> Slot:
        """A slot, blank or made on the spot.

        Raises:
            StepFailed, PlatformError: nothing is left of it.
        """
        making = self.making(shape)
        while True:
            try:
                next(making)
            except StopIteration as made:
                slot: Slot = made.value
                return slot

    def making(self, shape: Shape) -> Generator[None, None, Slot]:
        """The same, in steps with time for something else between them."""
        if self._blanks and shape.ephemeral_storage_mib == _BLANK.ephemeral_storage_mib:
            slot = self._blanks.popleft()
            slot.shape = shape
            return slot
        return (yield from self._making(shape))

    def _making(self, shape: Shape) -> Generator[None, None, Slot]:
        if not self._free and self._blanks:
            self.give_back(self._blanks.popleft())
        if not self._free:
            raise PlatformError("all sandboxes of this server are in use")
        index = self._free.popleft()  # the one free longest: answers to a predecessor's packets still come to it
        slot = (WalledSlot if self._host.isolation else OpenSlot)(self._host, shape, index)
        try:
            yield from slot.make(self._host)
        except BaseException:
            self.give_back(slot)
            raise
        return slot

    def give_back(self, slot: Slot) -> None:
        slot.close()
        self._free.append(slot.index)

    def taking_back(self, slot: Slot) -> Generator[None]:
        """The same, in steps with time for something else between them."""
        try:
            yield from slot.closing()
        finally:
            self.give_back(slot)

    def stocking(self, wanted: int, places_kept: int, may_make: Callable[[], bool]) -> Generator[None]:
        """Have as many blanks as are wanted, while they may be made and there are places that nobody may need."""
        while len(self._blanks) > wanted:
            yield from self.taking_back(self._blanks.popleft())
        while len(self._blanks) < wanted and len(self._free) > places_kept and may_make():
            try:
                self._blanks.append((yield from self._making(_BLANK)))
            except (StepFailed, PlatformError) as exc:
                log.warning("sandbox.blank_not_made", extra={"reason": str(exc)})
                return
