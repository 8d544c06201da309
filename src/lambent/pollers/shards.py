"""Which shards of a stream are read, from where, and how far each is done. Pure.

A shard is read once all it was split or merged from are done: so what has one key stays in order when a stream is
resharded. Where it begins is said by its checkpoint, else by the mapping's starting position; the children of what was
read from LATEST are read whole. (So checkpoints of new shards are committed from the youngest to the oldest: a shard
whose parent has a checkpoint is a child.)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lambent.model.event_source_mapping import EventSourceMapping
from lambent.model.source_record import Checkpoint, Position, Shard, Start


@dataclass(frozen=True, slots=True)
class Opening:
    """A shard to be read, and the checkpoint to begin with; `is_new` where that is not committed yet."""

    shard: str
    position: Position
    checkpoint: Checkpoint
    is_new: bool


def openings(
    shards: Sequence[Shard], checkpoints: Mapping[str, Checkpoint], mapping: EventSourceMapping, now_s: float
) -> Sequence[Opening]:
    """The shards that are to be read now, or were skipped by starting at LATEST (their checkpoint is finished)."""
    listed = {shard.id for shard in shards}
    found = []
    for shard in shards:
        checkpoint = checkpoints.get(shard.id)
        if checkpoint is not None:
            if not checkpoint.is_finished:
                found.append(Opening(shard.id, _resumed(checkpoint, mapping), checkpoint, is_new=False))
        elif mapping.starting_position == Start.LATEST and not any(one in checkpoints for one in shard.parents):
            found.append(_latest(shard, now_s))
        elif all(_is_done(parent, listed, checkpoints) for parent in shard.parents):
            found.append(Opening(shard.id, _beginning(mapping), Checkpoint(), is_new=True))
    return found


def vanished(shards: Sequence[Shard], checkpoints: Mapping[str, Checkpoint]) -> Sequence[str]:
    """Shards that were done and are no more; their checkpoints are of no use once their children have one."""
    listed = {shard.id for shard in shards}
    needed = {parent for shard in shards if shard.id not in checkpoints for parent in shard.parents}
    return [id for id, one in checkpoints.items() if one.is_finished and id not in listed and id not in needed]


def _is_done(parent: str, listed: set[str], checkpoints: Mapping[str, Checkpoint]) -> bool:
    checkpoint = checkpoints.get(parent)
    return parent not in listed if checkpoint is None else checkpoint.is_finished or parent not in listed


def _latest(shard: Shard, now_s: float) -> Opening:
    """What was closed before is not read; what is open is, after a restart too, from this moment on."""
    if shard.is_closed:
        return Opening(shard.id, Position(start=Start.LATEST), Checkpoint(is_finished=True), is_new=True)
    return Opening(shard.id, Position(start=Start.LATEST), Checkpoint(since_s=now_s), is_new=True)


def _resumed(checkpoint: Checkpoint, mapping: EventSourceMapping) -> Position:
    if checkpoint.after is not None:
        return Position(after=checkpoint.after)
    if checkpoint.since_s is not None:
        return Position(start=Start.AT_TIMESTAMP, at_s=checkpoint.since_s)
    return _beginning(mapping)


def _beginning(mapping: EventSourceMapping) -> Position:
    if mapping.starting_position == Start.AT_TIMESTAMP:
        return Position(start=Start.AT_TIMESTAMP, at_s=mapping.starting_timestamp_s)
    return Position()


class Progress:
    """How far a shard is done, while its records are done out of order: everything up to `after`."""

    def __init__(self, after: str | None) -> None:
        self.after = after
        self._taken: deque[str] = deque()
        self._done: set[str] = set()

    @property
    def outstanding(self) -> int:
        return len(self._taken)

    def take(self, id: str) -> None:
        """It was read."""
        self._taken.append(id)

    def done(self, ids: Iterable[str]) -> None:
        self._done.update(ids)
        while self._taken and self._taken[0] in self._done:
            self.after = self._taken.popleft()
            self._done.discard(self.after)
