"""What pollers decide, as pure functions: responses, batches, retries, shards."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from poller_world import ERROR, mapping

from lambent.model.event import Condition
from lambent.model.event_source_mapping import SourceKind
from lambent.model.source_record import Checkpoint, Envelope, Position, Shard, SourceRecord, Start, source_record
from lambent.pollers.batch_run import BatchRun, GiveUp, Invoke, RunPolicy, Wait, run_policy
from lambent.pollers.batching import Batcher, window_s
from lambent.pollers.responses import failed_ids, window_state
from lambent.pollers.shards import Progress, openings

GIVEN = {"1", "2", "3"}


@pytest.mark.parametrize(
    ("answer", "failed"),
    [
        (b"", set()),
        (b"null", set()),
        (b"{}", set()),
        (b'{"batchItemFailures": []}', set()),
        (b'{"batchItemFailures": null}', set()),
        (b'{"other": 1}', set()),
        (b'{"batchItemFailures": [{"itemIdentifier": "2"}]}', {"2"}),
        (b'{"batchItemFailures": [{"itemIdentifier": "2"}, {"itemIdentifier": "2"}]}', {"2"}),
        (b'{"batchItemFailures": [{"itemIdentifier": ""}]}', None),
        (b'{"batchItemFailures": [{"itemIdentifier": null}]}', None),
        (b'{"batchItemFailures": [{"itemIdentifier": 2}]}', None),
        (b'{"batchItemFailures": [{"badKey": "2"}]}', None),
        (b'{"batchItemFailures": [{"itemIdentifier": "unknown"}]}', None),
        (b'{"batchItemFailures": [{"itemIdentifier": "2"}, {"itemIdentifier": "9"}]}', None),
        (b'{"batchItemFailures": ["2"]}', None),
        (b'{"batchItemFailures": {"itemIdentifier": "2"}}', None),
        (b'{"batchItemFailures":', None),
        (b'"OK"', None),
        (b"[]", None),
        (b'{"batchItemFailures": [{"itemIdentifier": "\xff"}]}', None),
    ],
)
def test_a_response_is_read_to_awss_letter(answer: bytes, failed: set[str] | None) -> None:
    assert failed_ids(answer, GIVEN) == failed


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (b'{"state": {"a": 1}}', b'{"a": 1}'),
        (b'{"state": {}, "batchItemFailures": []}', b"{}"),
        (b'{"state": null}', None),
        (b"{}", None),
        (b"null", None),
        (b'"state"', None),
        (b"not json", None),
    ],
)
def test_a_window_needs_a_state_in_the_answer(answer: bytes, state: bytes | None) -> None:
    found = window_state(answer)
    assert (None if found is None else bytes(found)) == state


def records(count: int, *, arrived_s: float | None = None, size: int = 1) -> list[SourceRecord]:
    return [source_record(str(number), {"data": "x" * size}, arrived_s=arrived_s) for number in range(1, count + 1)]


def test_an_event_is_its_records_in_their_envelope() -> None:
    first, second = records(2)
    assert Envelope().wrap([first, second]) == b'{"Records":[{"data":"x"},{"data":"x"}]}'
    assert Envelope().wrap([], {"state": msgspec.Raw(b"{}")}) == b'{"Records":[],"state":{}}'


@given(
    sizes=st.lists(st.integers(1, 3_000_000), max_size=12),
    size=st.integers(1, 5),
    groups=st.lists(st.integers(0, 1), min_size=12, max_size=12),
)
def test_batches_hold_every_record_once_in_order_and_fit_an_event(
    sizes: list[int], size: int, groups: list[int]
) -> None:
    batcher = Batcher(size=size, window_s=10, group=lambda record: record.order_key)
    added = [
        source_record(str(at), {"data": "x" * length}, order_key=str(groups[at])) for at, length in enumerate(sizes)
    ]
    taken: list[str] = []
    batches = []
    for record in added:
        batcher.add(record, 0.0)
        while batch := batcher.take(0.0):
            batches.append(batch)
    while batch := batcher.take(10.0):
        batches.append(batch)
    for batch in batches:
        taken += [record.id for record in batch]
        assert len(batch) <= size
        assert len({record.order_key for record in batch}) == 1
        assert len(Envelope().wrap(batch)) <= 6_291_456
    assert taken == [record.id for record in added]
    assert batcher.bytes == 0


def test_a_batch_is_due_when_its_window_has_passed() -> None:
    batcher = Batcher(size=10, window_s=5)
    for record in records(3):
        batcher.add(record, 100.0)
    assert not batcher.take(104.9)
    assert len(batcher.take(105.0)) == 3


@pytest.mark.parametrize(("said_s", "waits_s"), [(None, 0.5), (0, 0.0), (300, 300.0)])
def test_brokers_are_batched_for_half_a_second_unless_a_window_is_said(said_s: int | None, waits_s: float) -> None:
    assert window_s(mapping(SourceKind.SELF_MANAGED_KAFKA, batching_window_s=said_s)) == waits_s


@pytest.mark.parametrize(
    ("attempts", "age_s", "retention_s", "expected"),
    [
        (-1, -1, None, (None, None)),
        (None, None, None, (None, None)),
        (0, 60, 3_600.0, (0, 60.0)),
        (3, -1, 86_400.0, (3, 86_400.0)),
        (10_000, 604_800, 86_400.0, (10_000, 86_400.0)),
    ],
)
def test_minus_one_is_without_bound_but_for_the_streams_own(
    attempts: int | None, age_s: int | None, retention_s: float | None, expected: tuple[int | None, float | None]
) -> None:
    said = mapping(SourceKind.KINESIS, maximum_retry_attempts=attempts, maximum_record_age_s=age_s)
    policy = run_policy(said, retention_s)
    assert (policy.maximum_retry_attempts, policy.maximum_age_s) == expected


@given(
    count=st.integers(1, 40),
    poison=st.sets(st.integers(1, 40), max_size=5),
    bisects=st.booleans(),
    reports=st.booleans(),
    attempts=st.integers(0, 3),
    seed=st.integers(),
)
def test_every_record_leaves_a_run_once_and_in_order_and_a_bisected_poison_leaves_alone(
    count: int, poison: set[int], bisects: bool, reports: bool, attempts: int, seed: int
) -> None:
    chance = random.Random(seed)
    run = BatchRun(records(count), RunPolicy(maximum_retry_attempts=attempts, bisects=bisects))
    left: list[str] = []
    given_up: list[str] = []
    now_s = 0.0
    while (step := run.next(now_s)) is not None:
        match step:
            case Wait(until_s):
                assert until_s > now_s
                now_s = until_s
            case GiveUp(gone, Condition.RETRY_ATTEMPTS_EXHAUSTED):
                given_up += [record.id for record in gone]
                left += [record.id for record in gone]
                run.given_up(step)
            case Invoke(batch):
                bad = [at for at, record in enumerate(batch) if int(record.id) in poison]
                if chance.random() < 0.2:
                    run.refused(now_s, chance.random())
                elif bad:
                    done = run.failed(ERROR, now_s, chance.random(), done=bad[0] if reports else 0)
                    left += [record.id for record in done]
                else:
                    left += [record.id for record in run.succeeded()]
    assert left == [str(number) for number in range(1, count + 1)]
    if bisects:
        assert set(given_up) == {str(number) for number in poison if number <= count}


def test_a_record_waits_for_no_retry_beyond_its_age() -> None:
    run = BatchRun(records(1, arrived_s=0.0), RunPolicy(maximum_age_s=60))
    for _ in range(9):
        run.failed(ERROR, 59.0, 0.0)
    assert run.next(59.0) == Wait(60.0)
    step = run.next(60.0)
    assert isinstance(step, GiveUp)
    assert (step.condition, step.invokes, step.result) == (Condition.RECORD_AGE_EXCEEDED, 9, ERROR)


def test_only_the_records_that_are_too_old_are_given_up() -> None:
    old, young = records(2, arrived_s=0.0), records(2, arrived_s=50.0)
    run = BatchRun([*old, *young], RunPolicy(maximum_age_s=60))
    step = run.next(70.0)
    assert isinstance(step, GiveUp)
    assert step.records == old
    run.given_up(step)
    assert run.next(70.0) == Invoke(young)


def opened(shards: list[Shard], checkpoints: dict[str, Checkpoint], **said: Any) -> dict[str, Position]:
    found = openings(shards, checkpoints, mapping(SourceKind.KINESIS, **said), now_s=1_000.0)
    return {one.shard: one.position for one in found if not one.checkpoint.is_finished}


def test_a_shard_begins_behind_its_checkpoint() -> None:
    shards = [Shard(id="a"), Shard(id="b", parents=("a",)), Shard(id="c")]
    checkpoints = {"a": Checkpoint(after="7"), "c": Checkpoint(after="9", is_finished=True)}
    assert opened(shards, checkpoints) == {"a": Position(after="7")}


def test_a_merged_shard_waits_for_both_its_parents() -> None:
    shards = [Shard(id="a"), Shard(id="b"), Shard(id="c", parents=("a", "b"))]
    done = Checkpoint(is_finished=True)
    assert opened(shards, {"a": done, "b": Checkpoint()}) == {"b": Position()}
    assert opened(shards, {"a": done, "b": done}) == {"c": Position()}


def test_a_parent_that_the_stream_has_forgotten_is_waited_for_no_longer() -> None:
    assert opened([Shard(id="c", parents=("a",))], {}) == {"c": Position()}


def test_latest_is_for_the_shards_there_are_and_their_children_are_read_whole() -> None:
    shards = [Shard(id="a", is_closed=True), Shard(id="b", parents=("a",)), Shard(id="c")]
    found = openings(shards, {}, mapping(SourceKind.KINESIS, starting_position="LATEST"), now_s=5.0)
    assert [(one.shard, one.checkpoint.is_finished, one.checkpoint.since_s) for one in found] == [
        ("a", True, None),
        ("b", False, 5.0),
        ("c", False, 5.0),
    ]
    checkpoints = {one.shard: one.checkpoint for one in found} | {"c": Checkpoint(is_finished=True)}
    later = opened([*shards, Shard(id="d", parents=("c",))], checkpoints, starting_position="LATEST")
    assert later == {"b": Position(start=Start.AT_TIMESTAMP, at_s=5.0), "d": Position()}


@given(order=st.permutations(range(12)))
def test_progress_is_the_last_record_before_the_first_that_is_not_done(order: list[int]) -> None:
    progress = Progress(None)
    for number in range(12):
        progress.take(str(number))
    done: set[int] = set()
    for number in order:
        progress.done((str(number),))
        done.add(number)
        first = next((one for one in range(12) if one not in done), 12)
        assert progress.after == (str(first - 1) if first else None)
    assert progress.outstanding == 0
