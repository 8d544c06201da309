"""What many clients were told, and whether some order of their requests explains it.

Each function is created with a mark of its own in its environment, which tells its incarnations apart. A request whose
answer never came (its server was killed) may have happened or not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One request: when it began and ended, and what came of it. `status` is None where no answer came."""

    operation: str
    function: str
    began: float
    ended: float
    status: int | None
    code: str = ""
    incarnation: str = ""
    """Of the function that it was about, where that is known."""
    revision_id: str = ""
    """The precondition that it was made under."""
    key: str = ""
    value: str = ""

    @property
    def is_done(self) -> bool:
        return self.status is not None and self.status < 300

    @property
    def may_be_done(self) -> bool:
        return self.status is None or self.is_done


ALLOWED: Mapping[str, frozenset[tuple[int, str]]] = {
    "CreateFunction": frozenset([(201, ""), (409, "ResourceConflictException")]),
    "GetFunctionConfiguration": frozenset([(200, "")]),
    "UpdateFunctionConfiguration": frozenset(
        [(200, ""), (409, "ResourceConflictException"), (412, "PreconditionFailedException")]
    ),
    "PublishVersion": frozenset([(201, ""), (409, "ResourceConflictException"), (412, "PreconditionFailedException")]),
    "CreateAlias": frozenset([(201, ""), (409, "ResourceConflictException")]),
    "UpdateAlias": frozenset([(200, "")]),
    "DeleteAlias": frozenset([(204, "")]),
    "TagResource": frozenset([(204, "")]),
    "UntagResource": frozenset([(204, "")]),
    "DeleteFunction": frozenset([(204, ""), (409, "ResourceConflictException")]),
}
"""Beside 404, which any operation on a function may get while others delete it."""


def outcomes_are_allowed(events: Iterable[Event]) -> list[str]:
    return [
        f"{event.operation} was answered {event.status} {event.code}"
        for event in events
        if event.status is not None
        and (event.status, event.code) not in ALLOWED[event.operation]
        and (event.operation == "CreateFunction" or (event.status, event.code) != (404, "ResourceNotFoundException"))
    ]


def revisions_are_used_once(events: Iterable[Event]) -> list[str]:
    """Of all updates under one RevisionId, one may succeed."""
    winners: dict[tuple[str, str], Event] = {}
    found: list[str] = []
    for event in events:
        if event.operation == "UpdateFunctionConfiguration" and event.is_done:
            if (event.function, event.revision_id) in winners:
                found.append(f"{event.function}: two updates succeeded under revision {event.revision_id}")
            winners[event.function, event.revision_id] = event
    return found


def creations_and_deletions_alternate(events: Sequence[Event], existing: set[str]) -> list[str]:
    found: list[str] = []
    for function in {event.function for event in events}:
        of = [event for event in events if event.function == function]
        created = [event for event in of if event.operation == "CreateFunction"]
        deleted = [event for event in of if event.operation == "DeleteFunction"]
        there = 1 if function in existing else 0
        most = sum(event.may_be_done for event in created) - sum(event.is_done for event in deleted)
        least = sum(event.is_done for event in created) - sum(event.may_be_done for event in deleted)
        if not least <= there <= most:
            found.append(f"{function}: {least} to {most} of it should exist, {there} does")
    return found


def reads_are_not_stale(events: Sequence[Event]) -> list[str]:
    """Whoever reads sees no description that another had replaced before the read began."""
    found: list[str] = []
    writes: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        if event.operation in ("CreateFunction", "UpdateFunctionConfiguration") and event.may_be_done:
            writes[event.incarnation].append(event)
    for read in events:
        if read.operation != "GetFunctionConfiguration" or not read.is_done:
            continue
        of = writes[read.incarnation]
        written = next((write for write in of if write.value == read.value), None)
        if written is None:
            found.append(f"{read.function}: {read.value} was read and never written")
        elif any(later.is_done and written.ended < later.began and later.ended < read.began for later in of):
            found.append(f"{read.function}: {read.value} was read after it had been replaced")
    return found


def versions_do_not_go_back(events: Sequence[Event]) -> list[str]:
    """A publish that begins after another has ended is given its number or a higher one."""
    found: list[str] = []
    published: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        if event.operation == "PublishVersion" and event.is_done:
            published[event.incarnation].append(event)
    for of in published.values():
        of.sort(key=lambda event: event.ended)
        for later in of:
            before = [int(event.value) for event in of if event.ended < later.began]
            if before and int(later.value) < max(before):
                found.append(f"{later.function}: version {later.value} was published after {max(before)}")
    return found


def acknowledged_versions_exist(events: Sequence[Event], versions: Mapping[str, set[str]]) -> list[str]:
    """`versions` is by the incarnations that exist in the end."""
    return [
        f"{event.function}: version {event.value} was published and is gone"
        for event in events
        if event.operation == "PublishVersion" and event.is_done and event.incarnation in versions
        if event.value not in versions[event.incarnation]
    ]


def acknowledged_tags_exist(events: Sequence[Event], tags: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Each tag key has one writer, so what it wrote last in an incarnation is what is there."""
    found: list[str] = []
    by_key: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in events:
        if event.operation in ("TagResource", "UntagResource") and event.may_be_done:
            by_key[event.function, event.key].append(event)
    for (function, key), of in by_key.items():
        if function not in tags:
            continue
        last = max((index for index, event in enumerate(of) if event.is_done), default=-1)
        possible = {event.value for event in of[max(last, 0) :]} | ({""} if last < 0 else set())
        actual = tags[function].get(key, "")
        deleted = (event.ended for event in events if event.operation == "DeleteFunction" and event.may_be_done
                   and event.function == function)  # fmt: skip
        was_lost = last >= 0 and max(deleted, default=0.0) < of[last].began
        if actual not in possible and (actual or was_lost):
            found.append(f"{function}: tag {key} is {actual!r}, should be one of {possible}")
    return found
