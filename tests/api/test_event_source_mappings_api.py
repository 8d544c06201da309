"""Event source mappings and event invoke configs through boto3: statuses, codes and texts as clients see them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lambent.testing.service import deploy

ARN = "arn:aws:{}:us-east-1:000000000000:{}"
QUEUE, FIFO, DEAD = ARN.format("sqs", "q"), ARN.format("sqs", "q.fifo"), ARN.format("sqs", "dead")
STREAM = ARN.format("kinesis", "stream/s")
TABLE = ARN.format("dynamodb", "table/t/stream/2024-01-01T00:00:00.000")
FUNCTION = ARN.format("lambda", "function:{}")
SELF_MANAGED = {
    "SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["a:9092"]}},
    "SourceAccessConfigurations": [{"Type": "BASIC_AUTH", "URI": ARN.format("secretsmanager", "secret:s")}],
    "StartingPosition": "TRIM_HORIZON",
    "Topics": ["orders"],
}
INVALID = "InvalidParameterValueException"


@pytest.fixture(scope="module")
def name(client: Any) -> Iterator[str]:
    yield deploy(client, "mapped", "def handler(event, context): ...")
    client.delete_function(FunctionName="mapped")


@pytest.fixture
def mapped(client: Any, name: str) -> Iterator[Callable[..., Any]]:
    """Makes mappings, and deletes them after the test."""
    uuids: list[str] = []

    def make(**members: Any) -> Any:
        answer = client.create_event_source_mapping(FunctionName=name, **members)
        uuids.append(answer["UUID"])
        return answer

    yield make
    for uuid in uuids:
        settled(client, uuid)
        client.delete_event_source_mapping(UUID=uuid)


def settled(client: Any, uuid: str) -> Any:
    while (found := client.get_event_source_mapping(UUID=uuid))["State"] not in ("Enabled", "Disabled"):
        pass
    return found


def refusal(call: Callable[..., Any], **members: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as refused:
        call(**members)
    response: Any = refused.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"], response["Error"]["Message"]


def test_each_operation_answers_aws_status(client: Any, name: str) -> None:
    created = client.create_event_source_mapping(FunctionName=name, EventSourceArn=QUEUE)
    uuid = created["UUID"]
    found = settled(client, uuid)
    updated = client.update_event_source_mapping(UUID=uuid, BatchSize=3)
    settled(client, uuid)
    listed = client.list_event_source_mappings(FunctionName=name)
    deleted = client.delete_event_source_mapping(UUID=uuid)

    answers = (created, found, updated, listed, deleted)
    assert [answer["ResponseMetadata"]["HTTPStatusCode"] for answer in answers] == [202, 200, 202, 200, 202]
    assert [answer["State"] for answer in (created, found, updated, deleted)] == [
        "Creating",
        "Enabled",
        "Updating",
        "Deleting",
    ]
    assert found["StateTransitionReason"] == "USER_INITIATED"
    assert found["EventSourceMappingArn"].endswith(f":event-source-mapping:{uuid}")
    assert [one["UUID"] for one in listed["EventSourceMappings"]] == [uuid]


def test_a_starting_timestamp_and_the_last_change_are_times(client: Any, mapped: Callable[..., Any]) -> None:
    answer = mapped(EventSourceArn=STREAM, StartingPosition="AT_TIMESTAMP", StartingPositionTimestamp=1_700_000_000)

    assert answer["StartingPositionTimestamp"].timestamp() == 1_700_000_000
    assert answer["LastModified"].timestamp() > 1_700_000_000


@pytest.mark.parametrize(
    ("members", "refused"),
    [
        ({}, (400, INVALID, "Unrecognized event source.")),
        (
            {"EventSourceArn": QUEUE, "FunctionName": "absent"},
            (400, INVALID, "Function does not exist"),
        ),
        (
            {"EventSourceArn": QUEUE, "BatchSize": 11},
            (
                400,
                INVALID,
                "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10",
            ),
        ),
        (
            {"EventSourceArn": STREAM},
            (
                400,
                INVALID,
                "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member "
                "must not be null.",
            ),
        ),
        (
            {"EventSourceArn": TABLE, "StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": 1},
            (400, INVALID, f"Unsupported starting position for arn type: {TABLE}"),
        ),
        (
            {"EventSourceArn": QUEUE, "DestinationConfig": {"OnFailure": {"Destination": DEAD}}},
            (400, INVALID, "Unsupported DestinationConfig parameter for given event source mapping type."),
        ),
        (
            {"EventSourceArn": QUEUE, "FilterCriteria": {"Filters": [{"Pattern": '{"body": "text"}'}]}},
            (400, INVALID, "Invalid filter pattern definition."),
        ),
        (
            {name: value for name, value in SELF_MANAGED.items() if name != "SourceAccessConfigurations"},
            (400, INVALID, "Required 'sourceAccessConfigurations' parameter is missing."),
        ),
    ],
)
def test_a_mapping_is_refused_in_aws_words(
    client: Any, name: str, members: dict[str, Any], refused: tuple[int, str, str]
) -> None:
    assert refusal(client.create_event_source_mapping, **{"FunctionName": name, **members}) == refused


@pytest.mark.parametrize(
    "source",
    [
        {"EventSourceArn": QUEUE},
        {"EventSourceArn": FIFO},
        {"EventSourceArn": STREAM, "StartingPosition": "LATEST"},
        SELF_MANAGED,
    ],
)
def test_a_second_mapping_of_a_source_names_the_first(
    client: Any, name: str, mapped: Callable[..., Any], source: dict[str, Any]
) -> None:
    uuid, arn = mapped(**source)["UUID"], source.get("EventSourceArn")
    expected = {
        QUEUE: f'An event source mapping with SQS arn (" {arn} ") and function (" {name} ") already exists.',
        FIFO: f'An event source mapping with SQS arn (" {arn} ") and function (" {name} ") already exists.',
        STREAM: f'The event source arn (" {arn} ") and function (" {name} ") provided mapping already exists.',
        None: f'An event source mapping with event source ("a:9092"), function ("{FUNCTION.format(name)}"), '
        'topics ("orders") already exists.',
    }[arn]

    assert refusal(client.create_event_source_mapping, FunctionName=name, **source) == (
        409,
        "ResourceConflictException",
        f"{expected} Please update or delete the existing mapping with UUID {uuid}",
    )


@pytest.mark.parametrize("verb", ["get", "update", "delete"])
def test_a_mapping_that_is_not_there_is_404(client: Any, verb: str) -> None:
    call = getattr(client, f"{verb}_event_source_mapping")

    assert refusal(call, UUID="00000000-0000-0000-0000-000000000000") == (
        404,
        "ResourceNotFoundException",
        "The resource you requested does not exist.",
    )


def test_mappings_are_tagged(client: Any, mapped: Callable[..., Any]) -> None:
    arn = mapped(EventSourceArn=QUEUE, Tags={"a": "1"})["EventSourceMappingArn"]
    client.tag_resource(Resource=arn, Tags={"b": "2"})
    client.untag_resource(Resource=arn, TagKeys=["a"])

    assert client.list_tags(Resource=arn)["Tags"] == {"b": "2"}


def test_an_event_invoke_config_lives_through_its_operations(client: Any, name: str) -> None:
    put = client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=1)
    updated = client.update_function_event_invoke_config(FunctionName=name, MaximumEventAgeInSeconds=60)
    found = client.get_function_event_invoke_config(FunctionName=name)
    listed = client.list_function_event_invoke_configs(FunctionName=name)
    deleted = client.delete_function_event_invoke_config(FunctionName=name)

    assert put["FunctionArn"] == FUNCTION.format(name) + ":$LATEST"
    assert put["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {}}
    assert (found["MaximumRetryAttempts"], found["MaximumEventAgeInSeconds"]) == (1, 60)
    assert found["LastModified"] == updated["LastModified"] >= put["LastModified"]
    assert len(listed["FunctionEventInvokeConfigs"]) == 1
    assert deleted["ResponseMetadata"]["HTTPStatusCode"] == 204


@pytest.mark.parametrize(
    ("verb", "members", "refused"),
    [
        ("put", {}, (400, INVALID, "You must specify at least one of error handling or destination setting.")),
        (
            "put",
            {"DestinationConfig": {"OnFailure": {"Destination": FUNCTION.format("mapped")}}},
            (400, INVALID, "You can't specify the function as a destination for itself."),
        ),
        (
            "put",
            {"DestinationConfig": {"OnFailure": {"Destination": FUNCTION.format("absent")}}},
            (400, INVALID, f"The destination ARN {FUNCTION.format('absent')} is invalid."),
        ),
        (
            "put",
            {"DestinationConfig": {"OnSuccess": {"Destination": STREAM}}},
            (
                400,
                INVALID,
                "The provided destination config DestinationConfig(onSuccess=OnSuccess(destination="
                f"{STREAM}), onFailure=null) is invalid.",
            ),
        ),
        (
            "get",
            {},
            (
                404,
                "ResourceNotFoundException",
                f"The function {FUNCTION.format('mapped')}:$LATEST doesn't have an EventInvokeConfig",
            ),
        ),
        (
            "update",
            {"FunctionName": "absent", "MaximumRetryAttempts": 1},
            (404, "ResourceNotFoundException", "The function doesn't exist."),
        ),
    ],
)
def test_an_event_invoke_config_is_refused_in_aws_words(
    client: Any, name: str, verb: str, members: dict[str, Any], refused: tuple[int, str, str]
) -> None:
    call = getattr(client, f"{verb}_function_event_invoke_config")

    assert refusal(call, **{"FunctionName": name, **members}) == refused


def test_the_recursion_setting_is_put_and_read(client: Any, name: str) -> None:
    assert client.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Terminate"
    assert client.put_function_recursion_config(FunctionName=name, RecursiveLoop="Allow")["RecursiveLoop"] == "Allow"
    assert client.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Allow"
