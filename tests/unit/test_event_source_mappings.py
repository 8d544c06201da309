"""Event source mappings: what each kind of source is answered, what is refused, and how a mapping lives."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from control_world import ARN, CALLER, World

from lambent.control.answers import WARNING
from lambent.model.errors import ApiError, InvalidParameterValue, ResourceConflict, ResourceInUse, ResourceNotFound
from lambent.model.event_source_mapping import mapping_prefix, result_key

QUEUE = "arn:aws:sqs:eu-west-1:000000000000:q"
FIFO = f"{QUEUE}.fifo"
STREAM = "arn:aws:kinesis:eu-west-1:000000000000:stream/s"
TABLE = "arn:aws:dynamodb:eu-west-1:000000000000:table/t/stream/2024-01-01T00:00:00.000"
MSK = "arn:aws:kafka:eu-west-1:000000000000:cluster/c/11111111-2222-3333-4444-555555555555-1"
BROKER = "arn:aws:mq:eu-west-1:000000000000:broker:b:b-1"
SECRET = "arn:aws:secretsmanager:eu-west-1:000000000000:secret:s"

SQS = {"EventSourceArn": QUEUE}
SQS_FIFO = {"EventSourceArn": FIFO}
KINESIS = {"EventSourceArn": STREAM, "StartingPosition": "LATEST"}
DYNAMODB = {"EventSourceArn": TABLE, "StartingPosition": "TRIM_HORIZON"}
KAFKA = {"EventSourceArn": MSK, "StartingPosition": "LATEST", "Topics": ["t"]}
SELF_MANAGED = {
    "SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["a:9092", "b:9092"]}},
    "SourceAccessConfigurations": [{"Type": "SASL_SCRAM_512_AUTH", "URI": SECRET}],
    "StartingPosition": "TRIM_HORIZON",
    "Topics": ["t"],
}
MQ = {
    "EventSourceArn": BROKER,
    "Queues": ["orders"],
    "SourceAccessConfigurations": [{"Type": "BASIC_AUTH", "URI": SECRET}, {"Type": "VIRTUAL_HOST", "URI": "/"}],
}
EVERY_KIND = [SQS, SQS_FIFO, KINESIS, DYNAMODB, KAFKA, SELF_MANAGED, MQ]
FAILED_TO = {"DestinationConfig": {"OnFailure": {"Destination": "arn:aws:sqs:eu-west-1:000000000000:dead"}}}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World().running() as running:
        await running.created()
        yield running


async def create(world: World, **members: Any) -> Any:
    return await world.call("CreateEventSourceMapping", **{"FunctionName": "f", **members})


async def created(world: World, **members: Any) -> Any:
    """A mapping that is Enabled or Disabled, as Get shows it."""
    answer = await create(world, **members)
    return await settle(world, answer["UUID"])


async def settle(world: World, uuid: str) -> Any:
    await world.polled()
    return await world.call("GetEventSourceMapping", UUID=uuid)


async def refusal(world: World, operation: str = "CreateEventSourceMapping", **members: Any) -> ApiError:
    with pytest.raises(ApiError) as refused:
        await world.call(operation, **{"FunctionName": "f", **members})
    return refused.value


async def test_a_queue_is_answered_with_the_settings_that_queues_have(world: World) -> None:
    answer = await create(world, **SQS)
    uuid = answer["UUID"]
    assert answer == {
        "UUID": uuid,
        "EventSourceMappingArn": f"arn:aws:lambda:eu-west-1:000000000000:event-source-mapping:{uuid}",
        "EventSourceArn": QUEUE,
        "FunctionArn": ARN,
        "LastModified": world.time,
        "State": "Creating",
        "StateTransitionReason": "USER_INITIATED",
        "BatchSize": 10,
        "MaximumBatchingWindowInSeconds": 0,
        "FunctionResponseTypes": [],
    }


@pytest.mark.parametrize("source", [KINESIS, DYNAMODB])
async def test_a_stream_is_answered_with_the_settings_that_streams_have(world: World, source: dict[str, Any]) -> None:
    answer = await create(world, **source)
    uuid = answer["UUID"]
    assert answer == {
        "UUID": uuid,
        "EventSourceMappingArn": f"arn:aws:lambda:eu-west-1:000000000000:event-source-mapping:{uuid}",
        **source,
        "FunctionArn": ARN,
        "LastModified": world.time,
        "LastProcessingResult": "No records processed",
        "State": "Creating",
        "StateTransitionReason": "User action",
        "BatchSize": 100,
        "MaximumBatchingWindowInSeconds": 0,
        "DestinationConfig": {"OnFailure": {}},
        "FunctionResponseTypes": [],
        "ParallelizationFactor": 1,
        "TumblingWindowInSeconds": 0,
        "BisectBatchOnFunctionError": False,
        "MaximumRecordAgeInSeconds": -1,
        "MaximumRetryAttempts": -1,
    }


async def test_kafka_is_answered_with_its_consumer_group_which_is_the_uuid_by_default(world: World) -> None:
    answer = await create(world, **SELF_MANAGED)
    uuid = answer["UUID"]
    assert answer == {
        "UUID": uuid,
        "EventSourceMappingArn": f"arn:aws:lambda:eu-west-1:000000000000:event-source-mapping:{uuid}",
        **SELF_MANAGED,
        "SelfManagedKafkaEventSourceConfig": {"ConsumerGroupId": uuid},
        "FunctionArn": ARN,
        "LastModified": world.time,
        "LastProcessingResult": "No records processed",
        "State": "Creating",
        "StateTransitionReason": "USER_INITIATED",
        "BatchSize": 100,
        "DestinationConfig": {"OnFailure": {}},
        "FunctionResponseTypes": [],
    }
    managed = await create(world, **KAFKA, AmazonManagedKafkaEventSourceConfig={"ConsumerGroupId": "g"})
    assert managed["AmazonManagedKafkaEventSourceConfig"] == {"ConsumerGroupId": "g"}
    assert managed["EventSourceArn"] == MSK


async def test_a_broker_is_answered_with_its_queue(world: World) -> None:
    answer = await create(world, **MQ)
    assert {name: answer[name] for name in MQ} == MQ
    assert "DestinationConfig" not in answer
    assert "FunctionResponseTypes" not in answer


async def test_everything_that_is_said_is_kept(world: World) -> None:
    said = {
        "BatchSize": 7,
        "MaximumBatchingWindowInSeconds": 5,
        "ParallelizationFactor": 3,
        "TumblingWindowInSeconds": 60,
        "BisectBatchOnFunctionError": True,
        "MaximumRecordAgeInSeconds": 60,
        "MaximumRetryAttempts": 0,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "FilterCriteria": {"Filters": [{"Pattern": '{"data": {"a": [1]}}'}]},
        "StartingPosition": "AT_TIMESTAMP",
        "StartingPositionTimestamp": 1_700_000_000.5,
        **FAILED_TO,
    }
    answer = await created(world, EventSourceArn=STREAM, **said)
    assert {name: answer[name] for name in said} == said
    scaled = await created(world, **SQS, ScalingConfig={"MaximumConcurrency": 2})
    assert scaled["ScalingConfig"] == {"MaximumConcurrency": 2}


async def test_a_mapping_that_is_created_disabled_ends_so(world: World) -> None:
    answer = await created(world, **SQS, Enabled=False)
    assert (answer["State"], answer["StateTransitionReason"]) == ("Disabled", "USER_INITIATED")


async def test_a_mapping_goes_through_aws_states(world: World) -> None:
    uuid = (await created(world, **SQS))["UUID"]
    world.time += 1
    states = []
    for change in ({"BatchSize": 5}, {"Enabled": False}, {"Enabled": True}):
        begun = await world.call("UpdateEventSourceMapping", UUID=uuid, **change)
        states += [begun["State"], (await settle(world, uuid))["State"]]
        assert begun["LastModified"] == world.time
    assert states == ["Updating", "Enabled", "Disabling", "Disabled", "Enabling", "Enabled"]
    assert (await world.call("DeleteEventSourceMapping", UUID=uuid))["State"] == "Deleting"
    with pytest.raises(ResourceNotFound):
        await settle(world, uuid)


@pytest.mark.parametrize(("operation", "verb"), [("Update", "update"), ("Delete", "delete")])
async def test_no_change_begins_while_another_is_under_way(world: World, operation: str, verb: str) -> None:
    uuid = (await create(world, **SQS))["UUID"]
    with pytest.raises(ResourceInUse) as refused:
        await world.call(f"{operation}EventSourceMapping", UUID=uuid)
    assert refused.value.message == f"Cannot {verb} the event source mapping because it is in use."


@pytest.mark.parametrize("operation", ["Get", "Update", "Delete"])
async def test_an_unknown_uuid_is_not_found(world: World, operation: str) -> None:
    with pytest.raises(ResourceNotFound) as refused:
        await world.call(f"{operation}EventSourceMapping", UUID="unknown")
    assert refused.value.message == "The resource you requested does not exist."


async def test_who_polls_is_told_of_each_change_and_says_what_it_came_to(world: World) -> None:
    followed: list[str] = []
    world.store.watch(mapping_prefix(), followed.append)
    uuid = (await create(world, **SQS))["UUID"]
    assert followed == [mapping_prefix("000000000000", "eu-west-1") + uuid]
    await world.polled()
    await world.store.put(result_key("000000000000", "eu-west-1", uuid), b"OK")
    assert len(followed) == 2
    found = await world.call("GetEventSourceMapping", UUID=uuid)
    assert (found["State"], found["StateTransitionReason"]) == ("Enabled", "USER_INITIATED")
    assert found["LastProcessingResult"] == "OK"


async def test_what_an_update_does_not_mention_stays_and_empty_structures_clear(world: World) -> None:
    said = {"FilterCriteria": {"Filters": [{"Pattern": '{"data": {"a": [1]}}'}]}, "BatchSize": 9, **FAILED_TO}
    uuid = (await created(world, **KINESIS, **said))["UUID"]
    await world.call("UpdateEventSourceMapping", UUID=uuid, MaximumRetryAttempts=3)
    kept = await settle(world, uuid)
    assert {name: kept[name] for name in said} == said
    cleared = {"FilterCriteria": {"Filters": []}, "DestinationConfig": {"OnFailure": {}}, "FunctionResponseTypes": []}
    await world.call("UpdateEventSourceMapping", UUID=uuid, **cleared)
    after = await settle(world, uuid)
    assert "FilterCriteria" not in after
    assert (after["DestinationConfig"], after["MaximumRetryAttempts"]) == ({"OnFailure": {}}, 3)


async def test_a_mapping_can_be_moved_to_another_function_or_alias(world: World) -> None:
    await world.created("g", Publish=True)
    await world.call("CreateAlias", FunctionName="g", Name="live", FunctionVersion="1")
    uuid = (await created(world, **SQS))["UUID"]
    answer = await world.call("UpdateEventSourceMapping", UUID=uuid, FunctionName="g:live")
    assert answer["FunctionArn"] == ARN.removesuffix("f") + "g:live"


@pytest.mark.parametrize("name", ["g", "f:1", "f:live"])
async def test_the_function_must_exist(world: World, name: str) -> None:
    error = await refusal(world, **SQS, FunctionName=name)
    assert (error.code, error.message) == ("InvalidParameterValueException", "Function does not exist")


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"EventSourceArn": "arn:aws:s3:::bucket"},
        {"EventSourceArn": "arn:aws:sns:eu-west-1:000000000000:t"},
        {"EventSourceArn": "arn:aws:dynamodb:eu-west-1:000000000000:table/t"},
        {"SelfManagedEventSource": {"Endpoints": {}}},
        {**SELF_MANAGED, **SQS},
    ],
)
async def test_what_is_no_event_source_is_unrecognized(world: World, members: dict[str, Any]) -> None:
    assert (await refusal(world, **members)).message == "Unrecognized event source."


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (
            {**SQS, "BatchSize": 11},
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10",
        ),
        ({**SQS_FIFO, "MaximumBatchingWindowInSeconds": 1}, "Batching window is not supported for FIFO queues"),
        (
            {**SQS_FIFO, "BatchSize": 11},
            "Batch size 11 is too large for the event source, which allows up to 10.",
        ),
        (
            {"EventSourceArn": STREAM},
            "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member must "
            "not be null.",
        ),
        (
            {**KAFKA, "StartingPosition": None},
            "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member must "
            "not be null.",
        ),
        (
            {**DYNAMODB, "StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": 1.0},
            f"Unsupported starting position for arn type: {TABLE}",
        ),
        (
            {**KINESIS, "StartingPosition": "AT_TIMESTAMP"},
            "StartingPositionTimestamp goes with StartingPosition AT_TIMESTAMP, and only with it.",
        ),
        (
            {**KINESIS, "StartingPositionTimestamp": 1.0},
            "StartingPositionTimestamp goes with StartingPosition AT_TIMESTAMP, and only with it.",
        ),
        ({**SQS, **FAILED_TO}, "Unsupported DestinationConfig parameter for given event source mapping type."),
        ({**MQ, **FAILED_TO}, "Unsupported DestinationConfig parameter for given event source mapping type."),
        (
            {**KINESIS, "DestinationConfig": {"OnSuccess": {"Destination": QUEUE}}},
            "Unsupported DestinationConfig parameter for given event source mapping type.",
        ),
        (
            {**KINESIS, "DestinationConfig": {"OnFailure": {"Destination": "kafka://t"}}},
            "The provided destination config DestinationConfig(onSuccess=null, "
            "onFailure=OnFailure(destination=kafka://t)) is invalid.",
        ),
        (
            {**KINESIS, "DestinationConfig": {"OnFailure": {"Destination": FIFO}}},
            f"The destination ARN {FIFO} is invalid.",
        ),
        ({**SQS, "StartingPosition": "LATEST"}, "StartingPosition is not valid for SQS event sources."),
        (
            {**SQS, "BisectBatchOnFunctionError": True},
            "Unsupported BisectBatchOnFunctionError parameter for given event source mapping type.",
        ),
        (
            {**SQS, "MaximumRetryAttempts": 0},
            "Unsupported MaximumRetryAttempts parameter for given event source mapping type.",
        ),
        (
            {**KINESIS, "ScalingConfig": {"MaximumConcurrency": 5}},
            "Unsupported ScalingConfig parameter for given event source mapping type.",
        ),
        (
            {**KAFKA, "TumblingWindowInSeconds": 5},
            "Unsupported TumblingWindowInSeconds parameter for given event source mapping type.",
        ),
        ({**KINESIS, "Topics": ["t"]}, "Unsupported Topics parameter for given event source mapping type."),
        (
            {**MQ, "FunctionResponseTypes": ["ReportBatchItemFailures"]},
            "Unsupported FunctionResponseTypes parameter for given event source mapping type.",
        ),
        (
            {**KAFKA, "SelfManagedKafkaEventSourceConfig": {"ConsumerGroupId": "g"}},
            "Unsupported SelfManagedKafkaEventSourceConfig parameter for given event source mapping type.",
        ),
        (
            {**SELF_MANAGED, "SourceAccessConfigurations": []},
            "Required 'sourceAccessConfigurations' parameter is missing.",
        ),
        ({**MQ, "SourceAccessConfigurations": None}, "Required 'sourceAccessConfigurations' parameter is missing."),
        ({**MQ, "Queues": None}, "Required 'queues' parameter is missing."),
        ({**KAFKA, "Topics": None}, "Required 'topics' parameter is missing."),
        (
            {**MQ, "SourceAccessConfigurations": [{"Type": "BASIC_AUTH"}]},
            "The URI of SourceAccessConfigurations of type BASIC_AUTH is missing.",
        ),
        (
            {**KINESIS, "MaximumRecordAgeInSeconds": 59},
            "MaximumRecordAgeInSeconds is 59; it must be -1 or at least 60.",
        ),
        (
            {"EventSourceArn": "arn:aws:sqs:us-east-1:000000000000:q"},
            "The event source arn:aws:sqs:us-east-1:000000000000:q is not in the region of the function (eu-west-1).",
        ),
        ({**SQS, "Tags": {str(number): "" for number in range(51)}}, "Number of tags exceeds resource tag limit."),
    ],
)
async def test_settings_that_do_not_fit_the_source_are_refused(
    world: World, members: dict[str, Any], message: str
) -> None:
    error = await refusal(world, **{name: value for name, value in members.items() if value is not None})
    assert (error.code, error.message) == ("InvalidParameterValueException", message)


@pytest.mark.parametrize(
    ("members", "what"),
    [
        ({"EventSourceArn": f"{STREAM}/consumer/c:1", "StartingPosition": "LATEST"}, "a stream's consumer"),
        ({"EventSourceArn": "arn:aws:rds:eu-west-1:000000000000:cluster:docs"}, "a DocumentDB cluster"),
        ({**SQS, "DocumentDBEventSourceConfig": {"DatabaseName": "d"}}, "DocumentDBEventSourceConfig"),
        ({**SQS, "KMSKeyArn": "arn:aws:kms:eu-west-1:000000000000:key/k"}, "KMSKeyArn"),
        ({**SQS, "MetricsConfig": {"Metrics": ["EventCount"]}}, "MetricsConfig"),
        ({**KAFKA, "LoggingConfig": {"SystemLogLevel": "INFO"}}, "LoggingConfig"),
        ({**SQS, "ProvisionedPollerConfig": {"MinimumPollers": 1}}, "ProvisionedPollerConfig"),
        (
            {**KAFKA, "AmazonManagedKafkaEventSourceConfig": {"SchemaRegistryConfig": {"EventRecordFormat": "JSON"}}},
            "AmazonManagedKafkaEventSourceConfig.SchemaRegistryConfig",
        ),
        (
            {**SELF_MANAGED, "SourceAccessConfigurations": [{"Type": "OAUTHBEARER_AUTH", "URI": SECRET}]},
            "SourceAccessConfigurations of type OAUTHBEARER_AUTH",
        ),
    ],
)
async def test_what_lambent_does_not_do_is_refused_by_name(world: World, members: dict[str, Any], what: str) -> None:
    message = (await refusal(world, **members)).message or ""
    assert message.startswith("Lambent does not support ")
    assert what in message


@pytest.mark.parametrize("pattern", ["", "null", '{"body": "a"}', '{"body": []}', '{"body": [{"wildcard": "*"}]}'])
async def test_a_filter_pattern_is_checked_when_it_is_given(world: World, pattern: str) -> None:
    criteria = {"Filters": [{"Pattern": '{"body": ["a"]}'}, {"Pattern": pattern}]}
    assert (await refusal(world, **SQS, FilterCriteria=criteria)).message == "Invalid filter pattern definition."
    uuid = (await created(world, **SQS))["UUID"]
    with pytest.raises(InvalidParameterValue, match=r"^Invalid filter pattern definition\.$"):
        await world.call("UpdateEventSourceMapping", UUID=uuid, FilterCriteria=criteria)


async def test_a_filter_pattern_is_checked_against_its_kind_of_source(world: World) -> None:
    text = {"FilterCriteria": {"Filters": [{"Pattern": json.dumps({"data": ["text"]})}]}}
    assert (await refusal(world, **KINESIS, **text)).message == "Invalid filter pattern definition."
    await create(world, **MQ, **text)


async def test_the_source_is_asked_before_a_mapping_of_it_is_made(world: World) -> None:
    await create(world, **SQS)
    assert world.sources.asked == [(QUEUE, 3)]


async def test_what_the_source_advises_is_said_beside_the_answer(world: World) -> None:
    assert WARNING not in await create(world, **SQS)
    world.sources.advice = "a longer timeout"
    assert (await create(world, **SQS_FIFO))[WARNING] == "a longer timeout"


async def test_there_are_at_most_five_filters(world: World) -> None:
    criteria = {"Filters": [{"Pattern": '{"body": ["a"]}'}] * 6}
    assert (await refusal(world, **SQS, FilterCriteria=criteria)).message == (
        "An event source mapping has at most 5 filters."
    )


async def test_brokers_are_read_by_functions_of_at_most_14_minutes(world: World) -> None:
    await world.created("slow", Timeout=841)
    message = (await refusal(world, **KAFKA, FunctionName="slow")).message or ""
    assert message.startswith("Function timeout: 841 seconds is more than the 840 seconds")
    await create(world, **KINESIS, FunctionName="slow")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            SQS,
            f'An event source mapping with SQS arn (" {QUEUE} ") and function (" f ") already exists. Please update or '
            "delete the existing mapping with UUID {uuid}",
        ),
        (
            KINESIS,
            f'The event source arn (" {STREAM} ") and function (" f ") provided mapping already exists. Please update '
            "or delete the existing mapping with UUID {uuid}",
        ),
        (
            SELF_MANAGED,
            f'An event source mapping with event source ("a:9092,b:9092"), function ("{ARN}"), topics ("t") already '
            "exists. Please update or delete the existing mapping with UUID {uuid}",
        ),
    ],
)
async def test_a_source_feeds_a_function_once(world: World, source: dict[str, Any], message: str) -> None:
    uuid = (await create(world, **source))["UUID"]
    error = await refusal(world, **source)
    assert isinstance(error, ResourceConflict)
    assert error.message == message.format(uuid=uuid)


async def test_a_source_is_taken_after_a_restart_too_and_free_once_its_mapping_has_gone() -> None:
    world = World()
    async with world.running():
        await world.created()
        uuid = (await created(world, **SQS))["UUID"]
    async with world.running():
        assert uuid in ((await refusal(world, **SQS)).message or "")
        await world.call("DeleteEventSourceMapping", UUID=uuid)
        await world.polled()
        await create(world, **SQS)


async def test_a_source_may_feed_several_functions_and_versions(world: World) -> None:
    await world.call("PublishVersion", FunctionName="f")
    await create(world, **SQS)
    await create(world, **SQS, FunctionName="f:1")
    await world.created("g")
    uuid = (await created(world, **SQS, FunctionName="g"))["UUID"]
    with pytest.raises(ResourceConflict):
        await world.call("UpdateEventSourceMapping", UUID=uuid, FunctionName="f:1")


async def listed(world: World, **members: Any) -> list[str]:
    """The UUIDs of all pages."""
    uuids, marker = [], {}
    while True:
        page = await world.call("ListEventSourceMappings", **members, **marker)
        uuids += [one["UUID"] for one in page["EventSourceMappings"]]
        if "NextMarker" not in page:
            return uuids
        marker = {"Marker": page["NextMarker"]}


async def test_mappings_are_listed_in_pages_by_function_and_by_source(world: World) -> None:
    await world.call("PublishVersion", FunctionName="f")
    await world.created("g")
    on_f = [(await create(world, **source))["UUID"] for source in (SQS, KINESIS, DYNAMODB)]
    on_g = [(await create(world, **SQS, FunctionName="g"))["UUID"]]
    on_version = [(await create(world, **SQS, FunctionName="f:1"))["UUID"]]
    for size in (1, 2, 5, 10_000):
        assert await listed(world, MaxItems=size) == sorted(on_f + on_g + on_version)
    assert await listed(world, FunctionName="f", MaxItems=2) == sorted(on_f)
    assert await listed(world, FunctionName=f"{ARN}:1") == on_version
    assert await listed(world, EventSourceArn=QUEUE, MaxItems=1) == sorted([on_f[0], *on_g, *on_version])
    assert await listed(world, EventSourceArn=QUEUE, FunctionName="g") == on_g
    assert await listed(world, FunctionName="absent") == []


async def test_nothing_is_seen_of_another_account_or_region(world: World) -> None:
    uuid = (await created(world, **SQS))["UUID"]
    for other in (replace(CALLER, account="111111111111"), replace(CALLER, region="us-east-1")):
        assert await world.call("ListEventSourceMappings", other) == {"EventSourceMappings": []}
        with pytest.raises(ResourceNotFound):
            await world.call("GetEventSourceMapping", other, UUID=uuid)


async def test_a_mapping_outlives_its_function(world: World) -> None:
    uuid = (await created(world, **SQS))["UUID"]
    await world.call("DeleteFunction", FunctionName="f")
    assert (await world.call("GetEventSourceMapping", UUID=uuid))["FunctionArn"] == ARN


async def test_a_mapping_is_tagged_at_creation_and_later(world: World) -> None:
    arn = (await created(world, **SQS, Tags={"a": "1"}))["EventSourceMappingArn"]
    await world.call("TagResource", Resource=arn, Tags={"b": "2"})
    assert await world.call("ListTags", Resource=arn) == {"Tags": {"a": "1", "b": "2"}}
    await world.call("UntagResource", Resource=arn, TagKeys=["a", "c"])
    assert await world.call("ListTags", Resource=arn) == {"Tags": {"b": "2"}}
    for other in (arn.replace("eu-west-1", "us-east-1"), arn + "0"):
        with pytest.raises(ResourceNotFound):
            await world.call("ListTags", Resource=other)


async def test_what_failed_does_not_go_to_a_topic_that_is_read(world: World) -> None:
    (topic,) = SELF_MANAGED["Topics"]
    destination = {"OnFailure": {"Destination": f"kafka://{topic}"}}
    with pytest.raises(InvalidParameterValue, match="must not be a topic that the mapping itself reads"):
        await create(world, **SELF_MANAGED, DestinationConfig=destination)
