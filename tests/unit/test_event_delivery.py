"""Each row of AWS's table of asynchronous invocation, in virtual time (reference/invocation.md §5)."""

from __future__ import annotations

import asyncio
import itertools
import json
from functools import wraps
from typing import Any

import pytest
from event_world import ARN, QUEUE, TOPIC, World, answering, failed, succeeded, throttled, version

from lambent.model.arn import FunctionArn
from lambent.model.errors import PlatformError, ResourceNotFound
from lambent.model.event import Message
from lambent.model.function import Alias, FunctionRecord, RecursiveLoop, function_key
from lambent.model.invocation import InvokeRequest, InvokeResult
from lambent.model.records import decode_function, encode
from lambent.ports.targets import Undelivered
from lambent.testing import virtual_time

HOUR_S = 3600


def in_virtual_time(test: Any) -> Any:
    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        virtual_time.run(test(*args, **kwargs))

    return run


def conditions(world: World) -> list[str]:
    return [json.loads(body)["requestContext"]["condition"] for _, body in world.targets.sent]


def attributes(message: Message) -> dict[str, tuple[str, str]]:
    return dict(message.attributes)


# Attempts -------------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_an_event_runs_once_with_its_own_request_id_and_no_client_context() -> None:
    async with World() as world:
        await world.create()
        request_id = await world.send(b'{"a": 1}')
        await world.idle(10 * HOUR_S)
        ((_, request),) = world.functions.calls
        assert (request.request_id, request.payload, request.client_context) == (request_id, b'{"a": 1}', None)
        assert world.queue.lanes() == []


@in_virtual_time
async def test_a_failing_function_runs_three_times_one_and_two_minutes_apart_under_one_request_id() -> None:
    async with World() as world:
        await world.create(answering(failed()))
        request_id = await world.send()
        await world.idle(10 * HOUR_S)
        assert world.functions.times_s() == [0, 60, 180]
        assert {request.request_id for _, request in world.functions.calls} == {request_id}
        assert world.queue.lanes() == []


@pytest.mark.parametrize(("retries", "times_s"), [(0, [0]), (1, [0, 60]), (2, [0, 60, 180])])
@in_virtual_time
async def test_maximum_retry_attempts_is_kept(retries: int, times_s: list[float]) -> None:
    async with World() as world:
        await world.create(answering(failed()), configs={"$LATEST": {"maximum_retry_attempts": retries}})
        await world.send()
        await world.idle(HOUR_S)
        assert world.functions.times_s() == times_s


@in_virtual_time
async def test_throttles_use_up_no_attempt_and_come_again_from_one_second_on() -> None:
    async with World() as world:
        await world.create(answering(throttled(), throttled(), throttled(), failed(), failed(), succeeded()))
        await world.send()
        await world.idle(HOUR_S)
        first, second, third, fourth, fifth, sixth = world.functions.times_s()
        assert 1 <= second - first <= 1.51
        assert 2 <= third - second <= 3.01
        assert 4 <= fourth - third <= 6.01
        assert (round(fifth - fourth), round(sixth - fifth)) == (60, 120)
        assert world.queue.lanes() == []


@in_virtual_time
async def test_a_fault_of_lambent_s_own_is_waited_out_like_a_throttle() -> None:
    async with World() as world:
        await world.create(answering(PlatformError("the disk is full"), succeeded()))
        await world.send()
        await world.idle(2)
        assert len(world.functions.calls) == 2
        assert world.queue.lanes() == []


@in_virtual_time
async def test_a_throttled_event_is_tried_every_five_minutes_at_last_and_given_up_after_six_hours() -> None:
    async with World() as world:
        await world.create(answering(throttled()), configs={"$LATEST": {"on_failure": QUEUE}})
        await world.send()
        await world.idle(7 * HOUR_S)
        times_s = world.functions.times_s()
        assert max(later - earlier for earlier, later in itertools.pairwise(times_s)) <= 301
        assert 6 * HOUR_S - 301 <= times_s[-1] <= 6 * HOUR_S
        assert conditions(world) == ["EventAgeExceeded"]


@in_virtual_time
async def test_maximum_event_age_is_kept_to_the_second() -> None:
    async with World() as world:
        await world.create(
            answering(throttled()), configs={"$LATEST": {"maximum_event_age_s": 60, "on_failure": QUEUE}}
        )
        await world.send()
        await world.idle(59.5)
        assert world.targets.sent == []
        await world.idle(1)
        assert conditions(world) == ["EventAgeExceeded"]


@in_virtual_time
async def test_reserved_concurrency_of_zero_ends_an_event_without_an_attempt() -> None:
    async with World() as world:
        await world.create(reserved_concurrency=0, configs={"$LATEST": {"on_failure": QUEUE}}, dead_letter=TOPIC)
        await world.send()
        await world.idle()
        assert world.functions.calls == []
        (_, body), (dead_letter, _) = world.targets.sent
        context = json.loads(body)["requestContext"]
        assert (context["condition"], context["approximateInvokeCount"]) == ("ZeroReservedConcurrency", 0)
        assert "responseContext" not in json.loads(body)
        assert attributes(dead_letter)["ErrorCode"] == ("Number", "429")


@in_virtual_time
async def test_the_events_of_a_deleted_function_are_dropped_and_counted() -> None:
    async with World() as world:
        await world.create(answering(failed()), dead_letter=QUEUE)
        await world.send()
        await world.idle(1)
        await world.store.delete(function_key(ARN.account, ARN.region, "f"))
        await world.idle(HOUR_S)
        assert len(world.functions.calls) == 1
        assert (world.queue.lanes(), world.targets.sent) == ([], [])
        assert (await world.events.statistics()).counts.dropped == 1


@in_virtual_time
async def test_an_event_for_a_function_that_is_not_there_is_not_accepted() -> None:
    async with World() as world:
        with pytest.raises(ResourceNotFound):
            await world.send()
        assert world.queue.lanes() == []


# Recursion ------------------------------------------------------------------------------------------------------------


async def invokes_itself(world: World, request: InvokeRequest) -> InvokeResult:
    assert request.trace_id is not None
    await world.send(trace_id=request.trace_id)
    return succeeded()


@in_virtual_time
async def test_a_function_that_invokes_itself_is_stopped_after_sixteen_times_and_the_event_kept() -> None:
    async with World() as world:
        await world.create(lambda request: invokes_itself(world, request), dead_letter=QUEUE)
        await world.send()
        await world.idle(HOUR_S)
        assert len(world.functions.calls) == 16
        ((message, body),) = world.targets.sent
        assert (message.target, body) == (QUEUE, b'{"key":"value"}')
        assert attributes(message)["ErrorCode"] == ("Number", "400")
        assert (await world.events.statistics()).counts.loops_dropped == 1


@in_virtual_time
async def test_a_loop_that_is_allowed_goes_on() -> None:
    async with World() as world:
        count = 0

        async def behave(request: InvokeRequest) -> InvokeResult:
            nonlocal count
            count += 1
            return await invokes_itself(world, request) if count < 50 else succeeded()

        await world.create(behave, recursive_loop=RecursiveLoop.ALLOW)
        await world.send()
        await world.idle(HOUR_S)
        assert count == 50


# Outcomes -------------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_failure_goes_to_the_destination_and_to_the_dead_letter_queue() -> None:
    async with World() as world:
        await world.create(answering(failed("boom")), dead_letter=TOPIC, configs={"$LATEST": {"on_failure": QUEUE}})
        request_id = await world.send(b'{"a": 1}')
        await world.idle(HOUR_S)
        (destination, record), (dead_letter, body) = world.targets.sent
        assert (destination.target, dead_letter.target) == (QUEUE, TOPIC)
        assert json.loads(record)["requestContext"]["approximateInvokeCount"] == 3
        assert body == b'{"a": 1}'
        assert attributes(dead_letter) == {
            "RequestID": ("String", request_id),
            "ErrorCode": ("Number", "200"),
            "ErrorMessage": ("String", "boom"),
        }
        counts = (await world.events.statistics()).counts
        assert (counts.destinations_reached, counts.dead_lettered, counts.dropped) == (1, 1, 1)


@in_virtual_time
async def test_a_success_goes_to_its_destination_and_to_no_dead_letter_queue() -> None:
    async with World() as world:
        await world.create(dead_letter=TOPIC, configs={"$LATEST": {"on_success": QUEUE, "on_failure": TOPIC}})
        await world.send()
        await world.idle()
        assert conditions(world) == ["Success"]


@in_virtual_time
async def test_a_destination_function_is_invoked_asynchronously_with_the_record() -> None:
    async with World() as world:
        await world.create(configs={"$LATEST": {"on_success": str(FunctionArn(ARN.region, ARN.account, "g"))}})
        await world.create(name="g")
        await world.send()
        await world.idle()
        record = json.loads(world.functions.calls[1][1].payload)
        assert record["requestContext"]["functionArn"] == f"{ARN}:$LATEST"
        assert world.functions.calls[1][1].request_id == "new-request-id"
        assert world.queue.lanes() == []


@in_virtual_time
async def test_destinations_that_lead_in_a_circle_are_a_recursive_loop() -> None:
    async with World() as world:
        await world.create(configs={"$LATEST": {"on_success": str(FunctionArn(ARN.region, ARN.account, "g"))}})
        await world.create(name="g", configs={"$LATEST": {"on_success": str(ARN)}})
        await world.send()
        await world.idle(HOUR_S)
        assert len(world.functions.calls) == 32


@in_virtual_time
async def test_an_alias_has_terms_of_its_own_and_the_dead_letters_of_its_version() -> None:
    async with World() as world:
        await world.create(answering(failed(version="1")), configs={"live": {"maximum_retry_attempts": 0}})
        record = FunctionRecord(
            latest=version("f"),
            versions=(1,),
            aliases={"live": Alias(name="live", function_version="1", revision_id="r")},
            event_invoke_configs=(await stored(world)).event_invoke_configs,
        )
        published = version("f", version="1", dead_letter_target_arn=QUEUE)
        await world.store.put("version/000000000000/us-east-1/f/0000000001", encode(published))
        await world.save(record)
        await world.send(name="f:live")
        await world.idle()
        assert len(world.functions.calls) == 1
        assert [message.target for message, _ in world.targets.sent] == [QUEUE]


@in_virtual_time
async def test_an_outcome_is_sent_again_until_the_target_answers() -> None:
    async with World() as world:
        world.targets.refusals = [Undelivered("it did not answer", is_final=False)] * 20
        await world.create(configs={"$LATEST": {"on_success": QUEUE}})
        await world.send()
        await world.idle(30)
        (waiting,) = await world.events.waiting.list([""])
        assert (waiting.recipient, waiting.reason, waiting.state) == ("OnSuccess", "it did not answer", "Waiting")
        await world.idle(12 * HOUR_S)
        assert conditions(world) == ["Success"]
        assert (await world.events.statistics()).counts.destination_failures == 20


@in_virtual_time
async def test_an_outcome_that_is_refused_for_good_is_kept_and_shown_until_it_is_redriven() -> None:
    async with World() as world:
        world.targets.refusals = [Undelivered("no such queue", is_final=True)]
        await world.create(answering(failed()), dead_letter=QUEUE, configs={"$LATEST": {"maximum_retry_attempts": 0}})
        await world.send()
        await world.idle(48 * HOUR_S)
        (waiting,) = await world.events.waiting.list([""])
        assert (waiting.state, waiting.target, waiting.reason) == ("Parked", QUEUE, "no such queue")
        assert (await world.events.statistics()).counts.dead_letter_errors == 1
        assert await world.events.waiting.redrive([""]) == 1
        await world.idle()
        assert [message.target for message, _ in world.targets.sent] == [QUEUE]
        assert world.queue.lanes() == []


# Seen and steered -----------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_waiting_event_is_shown_with_its_reason_and_its_next_attempt() -> None:
    async with World() as world:
        await world.create(answering(failed("boom")))
        request_id = await world.send(b'{"a": 1}')
        await world.idle(10)
        (waiting,) = await world.events.waiting.list(["invoke/"])
        assert (waiting.request_id, waiting.attempts, waiting.reason) == (request_id, 1, "boom")
        assert waiting.next_attempt_ms == int((virtual_time.START_S + 60) * 1000)
        assert await world.events.waiting.show(["invoke/"], waiting.id) == (waiting, b'{"a": 1}')
        assert await world.events.waiting.show(["outcome/"], waiting.id) is None


@in_virtual_time
async def test_a_waiting_event_can_be_tried_at_once_or_dropped() -> None:
    async with World() as world:
        await world.create(answering(failed()))
        await world.send()
        await world.idle(1)
        (waiting,) = await world.events.waiting.list([""])
        assert await world.events.waiting.retry([""], waiting.id)
        await world.idle(1)
        assert len(world.functions.calls) == 2
        assert await world.events.waiting.drop([""], waiting.id)
        assert not await world.events.waiting.drop([""], waiting.id)
        await world.idle(HOUR_S)
        assert len(world.functions.calls) == 2


@in_virtual_time
async def test_statistics_tell_the_age_of_the_oldest_and_what_became_of_all() -> None:
    async with World() as world:
        await world.create(answering(succeeded(), failed()))
        await world.send()
        await world.send()
        await world.idle(30)
        statistics = await world.events.statistics()
        assert (statistics.waiting_events, statistics.running) == (1, 0)
        assert round(statistics.oldest_event_age_s) == 30
        assert (statistics.counts.received, statistics.counts.succeeded, statistics.counts.failed_attempts) == (2, 1, 1)


# Fairness and staying up ----------------------------------------------------------------------------------------------


async def slow(_: InvokeRequest) -> InvokeResult:
    await asyncio.sleep(10)
    return succeeded()


@in_virtual_time
async def test_a_noisy_function_does_not_hold_up_another() -> None:
    async with World(concurrency=100) as world:
        await world.create(slow, name="noisy")
        await world.create(name="quiet")
        for _ in range(2_000):
            await world.send(name="noisy")
        await world.idle(60)
        assert len(world.functions.times_s("noisy")) > 200
        sent_s = virtual_time.now() - virtual_time.START_S
        await world.send(name="quiet")
        await world.idle()
        (started_s,) = world.functions.times_s("quiet")
        assert started_s - sent_s < 0.01


@in_virtual_time
async def test_no_function_has_more_than_its_share_under_delivery() -> None:
    async with World(concurrency=90) as world:
        for name in ("a", "b"):
            await world.create(slow, name=name)
            for _ in range(300):
                await world.send(name=name)
        await world.idle(25)
        assert (await world.events.statistics()).running == 60


@in_virtual_time
async def test_a_function_of_limited_concurrency_is_kept_busy_and_seldom_throttled() -> None:
    async with World() as world:
        running = 0

        async def two_at_once(_: InvokeRequest) -> InvokeResult | Exception:
            nonlocal running
            if running == 2:
                return throttled()
            running += 1
            await asyncio.sleep(0.1)
            running -= 1
            return succeeded()

        await world.create(two_at_once)
        for _ in range(1_000):
            await world.send()
        await world.idle(70)
        counts = (await world.events.statistics()).counts
        assert counts.succeeded == 1_000
        assert counts.refused_attempts < 100


@in_virtual_time
async def test_draining_lets_what_runs_end_and_takes_nothing_more() -> None:
    async with World() as world:
        await world.create(slow)
        await world.send()
        await world.idle(1)
        draining = asyncio.create_task(world.events.drain(60))
        await world.idle()
        await world.send()
        await draining
        assert world.functions.times_s() == [0]
        assert [lane.items for lane in world.queue.lanes()] == [1]


@in_virtual_time
async def test_what_has_not_ended_when_the_drain_does_stays_in_the_queue() -> None:
    async with World() as world:
        await world.create(slow)
        await world.send()
        await world.idle(1)
        await world.events.drain(5)
    assert [lane.items for lane in world.queue.lanes()] == [1]


async def stored(world: World) -> FunctionRecord:
    entry = await world.store.get(function_key(ARN.account, ARN.region, "f"))
    assert entry is not None
    return decode_function(entry.value)
