"""Births: PID 1s asked of zygotes. Nobody waits for one: sandboxd goes on, and hears of it when it is there.

    waiting ──► asked ──► born, or it could not be built
       ▲          │
       └──────────┘ the zygote has ended, or hung and was killed

A zygote answers in the order in which it is asked, so an answer is about whoever was asked for first; and that one only
can be why a zygote was lost. All of a lost zygote's begin anew at the plain one; who has cost two of those is given up.
What a lost zygote has forked and not told of ends by itself, for nobody holds the other end of its wire.
"""

from __future__ import annotations

import logging
import os
import selectors
from collections.abc import Container, Sequence
from contextlib import suppress

from lambent.worker.sandbox import init, wire
from lambent.worker.sandbox.generations import Generations
from lambent.worker.sandbox.held import Held, Unborn
from lambent.worker.sandbox.inner_wire import Setup
from lambent.worker.sandbox.plan import RESOURCE_LIMITS
from lambent.worker.sandbox.slot import Generation
from lambent.worker.sandbox.walls import StepFailed, step
from lambent.worker.sandbox.zygotes import PLAIN, Forked, NotForked, Zygote, Zygotes

log = logging.getLogger(__name__)

_ASKED_MAXIMUM = 4
"""Enough to keep a zygote busy. Its wire holds eleven packets, and then has the sender wait."""
_ANSWER_TIMEOUT_S = 5.0
"""A thousand times what it takes: where hundreds want the CPU, who waits for it does not hang."""
_LOSSES_MAXIMUM = 2


class Births:
    """All PID 1s to be, each in the queue of a zygote."""

    def __init__(self, selector: selectors.BaseSelector, zygotes: Zygotes | None, generations: Generations) -> None:
        """No zygotes: the level `process`, where sandboxd forks itself."""
        self._selector = selector
        self._zygotes = zygotes
        self._generations = generations
        if zygotes is not None:
            self._listen(zygotes.start_plain())  # now, so that it is ready when somebody needs it

    def ask(self, held: Held) -> None:
        """Have a PID 1 forked in a slot. `generations` or its owner is told what becomes of it, perhaps at once."""
        held.unborn = Unborn()
        if self._zygotes is None:
            self._fork_ourselves(held)
        else:
            self._queue(held, self._zygotes.ready(held.slot.shape.zygote))

    @property
    def are_pending(self) -> bool:
        """Whether a child of ours may be unknown to us."""
        return self._zygotes is not None and any(zygote.asked for zygote in self._zygotes.running)

    # Zygotes ----------------------------------------------------------------------------------------------------------

    def start_zygote(self, name: str) -> None:
        """Unless it runs, or cannot be trusted."""
        if self._zygotes is not None and (zygote := self._zygotes.start(name)) is not None:
            self._listen(zygote)

    def hear(self, zygote: Zygote) -> wire.ZygoteReady | None:
        """One word of a zygote. Returned is what the server must know."""
        assert self._zygotes is not None
        if zygote.is_lost:  # in this same moment
            return None
        said = zygote.hear()
        if isinstance(said, wire.ZygoteReady):
            self._zygotes.became_ready(zygote)
            return said
        if said is None or not zygote.asked:
            self._lose(zygote)
            return None
        held = zygote.asked.popleft()
        self._ask_next(zygote)
        if isinstance(said, NotForked):
            self._give_up(held, StepFailed(said.step, OSError(said.error)))
        else:
            self._deliver(held, said)
        return None

    def reaped(self, pid: int, *, was_killed: bool) -> bool:
        """Whether a child of ours that has ended was a zygote; then another takes its place."""
        zygote = self._zygotes.reaped(pid) if self._zygotes is not None else None
        if zygote is None:
            return False
        while not zygote.is_lost:  # what it said last comes before its end
            self.hear(zygote)
        if not zygote.is_plain:
            self.start_zygote(zygote.name)
        elif was_killed:  # one that has failed would fail again, until somebody needs it
            with suppress(StepFailed):
                self._plain()
        return True

    def patience_s(self, *, now_s: float) -> float | None:
        """How long to wait for the zygotes that are asked; None: for ever."""
        due_s = [zygote.heard_s + _ANSWER_TIMEOUT_S for zygote in self._running() if zygote.asked]
        return max(0.0, min(due_s) - now_s) if due_s else None

    def lose_overdue(self, heard: Container[object], *, now_s: float) -> None:
        """Kill who hangs: it has had its time, and is not among the wires that can be read from."""
        for zygote in self._running():
            if zygote.asked and zygote.heard_s + _ANSWER_TIMEOUT_S <= now_s and zygote.control not in heard:
                log.warning("zygote.hangs", extra={"zygote": zygote.name, "pid": zygote.pid})
                self._lose(zygote)

    def close(self) -> None:
        """End all zygotes; and all that they have forked and not told of, for their wires end."""
        for zygote in self._running():
            self._abandon(zygote)

    def _running(self) -> Sequence[Zygote]:
        return self._zygotes.running if self._zygotes is not None else ()

    def _plain(self) -> Zygote:
        assert self._zygotes is not None
        if (running := self._zygotes.ready(PLAIN)) is not None:
            return running
        with step("fork"):
            started = self._zygotes.start_plain()
        self._listen(started)
        return started

    def _listen(self, zygote: Zygote) -> None:
        self._selector.register(zygote.control, selectors.EVENT_READ, zygote)

    def _lose(self, zygote: Zygote) -> None:
        if zygote.is_plain and zygote.asked:
            _unborn(zygote.asked[0]).zygotes_lost += 1
        for held in self._abandon(zygote):
            if _unborn(held).zygotes_lost < _LOSSES_MAXIMUM:
                self._queue(held, None)
            else:
                self._give_up(held, StepFailed("fork", OSError("the zygote was lost")))

    def _abandon(self, zygote: Zygote) -> list[Held]:
        """End it. Returns who was waiting for it, in their order, and asked for no more."""
        assert self._zygotes is not None
        self._selector.unregister(zygote.control)
        self._zygotes.lose(zygote)
        for held in zygote.asked:
            _unborn(held).forget_control()
        return [*zygote.asked, *zygote.waiting]

    # Those to be born -------------------------------------------------------------------------------------------------

    def _queue(self, held: Held, zygote: Zygote | None) -> None:
        try:
            mother = zygote or self._plain()
        except StepFailed as failure:
            self._give_up(held, failure)
        else:
            mother.waiting.append(held)
            self._ask_next(mother)

    def _ask_next(self, zygote: Zygote) -> None:
        while zygote.waiting and len(zygote.asked) < _ASKED_MAXIMUM:
            held = zygote.next_waiting()
            if _unborn(held).is_unwanted:
                self._give_up(held, None)
                continue
            try:
                zygote.ask(held)
            except StepFailed as failure:
                self._give_up(held, failure)

    def _fork_ourselves(self, held: Held) -> None:
        try:
            with step("fork"):
                ours, theirs = wire.socket_pair()
                with theirs:
                    _unborn(held).control = ours
                    pid = _fork_in_the_open(held.slot.setup(theirs.fileno()))
        except StepFailed as failure:
            self._give_up(held, failure)
        else:
            self._deliver(held, Forked(pid))

    def _deliver(self, held: Held, forked: Forked) -> None:
        unborn, held.unborn = _unborn(held), None
        assert unborn.control is not None
        assert held.slot.generation is None, "one generation at a time"
        held.slot.generation = Generation(
            forked.pid, unborn.control, mount_namespace=forked.mount_namespace, tell=forked.tell
        )
        self._generations.born(held)
        if unborn.is_unwanted:
            held.kill()

    def _give_up(self, held: Held, failure: StepFailed | None) -> None:
        unborn, held.unborn = _unborn(held), None
        unborn.forget_control()
        if failure is None or unborn.is_unwanted:
            held.owner.ended(held)
        else:
            held.owner.unborn(held, failure)


def _unborn(held: Held) -> Unborn:
    assert held.unborn is not None
    return held.unborn


def _fork_in_the_open(setup: Setup) -> int:
    pid = os.fork()
    if pid == 0:
        init.set_resource_limits(RESOURCE_LIMITS)
        init.run(setup)
    return pid
