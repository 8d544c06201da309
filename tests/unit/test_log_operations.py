"""CloudWatch Logs as boto3 sees it: the real client, the real wire format, the store in memory, no socket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError

from lambent.adapters.memory.log_store import MemoryLogStore
from lambent.logs.operations import LogsApi
from lambent.model.caller import CallerContext
from lambent.model.errors import ApiError
from lambent.ports.log_store import DAY_MS, Batch, GroupKey, Record, StreamKey
from lambent.spec.service import load

ACCOUNT, REGION = "123456789012", "eu-central-1"
NOW_MS = 1_700_000_000_000
HOUR_MS = DAY_MS // 24
GROUP = "/aws/lambda/f"
ARN = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{GROUP}"


class Body:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self) -> Iterator[bytes]:
        yield self._content


class Cloud:
    """The service in one process: each request of the client is parsed, performed and answered in place."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.store = MemoryLogStore()
        self.now_ms = NOW_MS
        self.api = LogsApi(self.store, clock=lambda: self.now_ms / 1000)
        self.service = load("logs")

    def perform(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        headers = {
            name.lower(): value.decode() if isinstance(value, bytes) else value
            for name, value in request.headers.items()
        }
        body = request.body.encode() if isinstance(request.body, str) else bytes(request.body)
        operation, labels = self.service.route("POST", "/", "", headers, body)
        try:
            parameters = operation.parse(labels, "", headers, body)
            caller = CallerContext(account=ACCOUNT, region=REGION, base_url="http://localhost")
            answer = self.runner.run(self._call(operation.name, caller, parameters))
            status, answered, content = operation.serialize(answer, "request")
        except ApiError as error:
            status, answered, content = self.service.serialize_error(error, "request")
        decoded = {name.decode(): value.decode() for name, value in answered}
        return AWSResponse(request.url, status, decoded, Body(bytes(content)))

    async def _call(self, name: str, caller: CallerContext, parameters: dict[str, Any]) -> dict[str, Any]:
        return await self.api.operations[name](caller, parameters)

    def logged(self, *events: tuple[int, str], stream: str = "s", group: str = GROUP) -> None:
        """As if the functions' log writer had written it."""
        key = StreamKey(GroupKey(ACCOUNT, REGION, group), stream)
        records = [Record(timestamp_ms, message.encode()) for timestamp_ms, message in events]
        self.runner.run(self.store.append([Batch(key, records, self.now_ms)]))


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    cloud = Cloud()
    yield cloud
    cloud.runner.close()


@pytest.fixture(scope="module")
def client() -> Any:  # Any: botocore's clients are made at run time
    return boto3.client(
        "logs",
        region_name=REGION,
        aws_access_key_id=ACCOUNT,
        aws_secret_access_key="x",
        endpoint_url="http://localhost:1",
        config=Config(retries={"total_max_attempts": 1}),
    )


@pytest.fixture
def logs(cloud: Cloud, client: Any) -> Iterator[Any]:
    client.meta.events.register("before-send.cloudwatch-logs", cloud.perform, unique_id="cloud")
    yield client
    client.meta.events.unregister("before-send.cloudwatch-logs", unique_id="cloud")


def refusal(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, str]:
    return error.value.response["Error"]["Code"], error.value.response["Error"]["Message"]


def texts(answer: dict[str, Any]) -> list[str]:
    return [event["message"] for event in answer["events"]]


NO_GROUP = ("ResourceNotFoundException", "The specified log group does not exist.")
NO_STREAM = ("ResourceNotFoundException", "The specified log stream does not exist.")


def test_events_that_were_put_are_got_back(logs: Any) -> None:
    logs.create_log_group(logGroupName="g")
    logs.create_log_stream(logGroupName="g", logStreamName="s")
    put = logs.put_log_events(
        logGroupName="g",
        logStreamName="s",
        sequenceToken="anything",
        logEvents=[{"timestamp": NOW_MS - 5, "message": "one\ntwo"}, {"timestamp": NOW_MS, "message": "drei €"}],
    )
    assert len(put["nextSequenceToken"]) == 56
    assert "rejectedLogEventsInfo" not in put
    answer = logs.get_log_events(logGroupName="g", logStreamName="s")
    assert answer["events"] == [
        {"timestamp": NOW_MS - 5, "message": "one\ntwo", "ingestionTime": NOW_MS},
        {"timestamp": NOW_MS, "message": "drei €", "ingestionTime": NOW_MS},
    ]


def test_what_exists_is_not_created_again(logs: Any) -> None:
    logs.create_log_group(logGroupName="g")
    logs.create_log_stream(logGroupName="g", logStreamName="s")
    with pytest.raises(ClientError) as error:
        logs.create_log_group(logGroupName="g")
    assert refusal(error) == ("ResourceAlreadyExistsException", "The specified log group already exists")
    with pytest.raises(ClientError) as error:
        logs.create_log_stream(logGroupName="g", logStreamName="s")
    assert refusal(error) == ("ResourceAlreadyExistsException", "The specified log stream already exists")


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [
        ("create_log_stream", {"logStreamName": "s"}),
        ("delete_log_group", {}),
        ("delete_log_stream", {"logStreamName": "s"}),
        ("put_log_events", {"logStreamName": "s", "logEvents": [{"timestamp": 1, "message": "m"}]}),
        ("describe_log_streams", {}),
        ("get_log_events", {"logStreamName": "s"}),
        ("filter_log_events", {}),
        ("put_retention_policy", {"retentionInDays": 7}),
        ("delete_retention_policy", {}),
        ("list_tags_log_group", {}),
        ("tag_log_group", {"tags": {"team": "x"}}),
        ("untag_log_group", {"tags": ["team"]}),
    ],
)
def test_a_group_that_does_not_exist_is_refused_by_every_operation(
    logs: Any, operation: str, parameters: dict[str, Any]
) -> None:
    logs.create_log_group(logGroupName="groups")  # a longer name is no match
    with pytest.raises(ClientError) as error:
        getattr(logs, operation)(logGroupName="group", **parameters)
    assert refusal(error) == NO_GROUP
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [
        ("delete_log_stream", {}),
        ("put_log_events", {"logEvents": [{"timestamp": 1, "message": "m"}]}),
        ("get_log_events", {}),
    ],
)
def test_a_stream_that_does_not_exist_is_refused(logs: Any, operation: str, parameters: dict[str, Any]) -> None:
    logs.create_log_group(logGroupName="g")
    logs.create_log_stream(logGroupName="g", logStreamName="streams")
    with pytest.raises(ClientError) as error:
        getattr(logs, operation)(logGroupName="g", logStreamName="stream", **parameters)
    assert refusal(error) == NO_STREAM


def test_a_deleted_group_and_a_deleted_stream_are_gone(logs: Any, cloud: Cloud) -> None:
    cloud.logged((NOW_MS, "a"), stream="a")
    cloud.logged((NOW_MS, "b"), stream="b")
    logs.delete_log_stream(logGroupName=GROUP, logStreamName="a")
    assert texts(logs.filter_log_events(logGroupName=GROUP)) == ["b"]
    logs.delete_log_group(logGroupName=GROUP)
    assert logs.describe_log_groups()["logGroups"] == []


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"kmsKeyId": "arn:aws:kms:eu-central-1:123456789012:key/x"}, "kmsKeyId"),
        ({"deletionProtectionEnabled": True}, "deletionProtectionEnabled"),
        ({"logGroupClass": "INFREQUENT_ACCESS"}, "logGroupClass"),
    ],
)
def test_settings_of_a_group_that_would_have_no_effect_are_refused_by_name(
    logs: Any, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(ClientError, match=message) as error:
        logs.create_log_group(logGroupName="g", **parameters)
    assert refusal(error)[0] == "NotImplementedException"


def test_a_group_is_tagged_from_its_creation_on_by_arn_and_by_name(logs: Any) -> None:
    logs.create_log_group(logGroupName=GROUP, tags={"team": "x", "stage": "test"})
    logs.tag_resource(resourceArn=ARN, tags={"team": "y", "empty": ""})
    logs.untag_resource(resourceArn=ARN, tagKeys=["stage", "absent"])
    assert logs.list_tags_for_resource(resourceArn=ARN)["tags"] == {"team": "y", "empty": ""}
    logs.tag_log_group(logGroupName=GROUP, tags={"cost": "1"})
    logs.untag_log_group(logGroupName=GROUP, tags=["team"])
    assert logs.list_tags_log_group(logGroupName=GROUP)["tags"] == {"empty": "", "cost": "1"}


def test_a_group_has_fifty_tags_at_most_and_keeps_those_it_had(logs: Any) -> None:
    before = {str(number): "" for number in range(49)}
    logs.create_log_group(logGroupName=GROUP, tags=before)
    with pytest.raises(ClientError) as error:
        logs.tag_resource(resourceArn=ARN, tags={"a": "", "b": ""})
    assert refusal(error)[0] == "TooManyTagsException"
    with pytest.raises(ClientError) as error:
        logs.tag_resource(resourceArn=ARN, tags={"aws:x": ""})
    assert refusal(error)[0] == "InvalidParameterException"
    assert logs.list_tags_for_resource(resourceArn=ARN)["tags"] == before


@pytest.mark.parametrize(
    ("arn", "code"),
    [
        (ARN.replace(GROUP, "absent"), "ResourceNotFoundException"),
        (ARN.replace(ACCOUNT, "111111111111"), "ResourceNotFoundException"),
        (f"arn:aws:logs:{REGION}:{ACCOUNT}:destination:d", "InvalidParameterException"),
        (GROUP, "InvalidParameterException"),
    ],
)
def test_tags_of_what_is_no_group_of_the_callers_are_refused(logs: Any, arn: str, code: str) -> None:
    logs.create_log_group(logGroupName=GROUP)
    with pytest.raises(ClientError) as error:
        logs.list_tags_for_resource(resourceArn=arn)
    assert refusal(error)[0] == code


def test_names_that_begin_with_aws_are_reserved(logs: Any) -> None:
    with pytest.raises(ClientError, match="reserved for AWS"):
        logs.create_log_group(logGroupName="AWS/lambda")


def test_groups_are_described_in_pages_with_their_arns(logs: Any, cloud: Cloud) -> None:
    for name in ("b", "a/1", "a/2", "a/3"):
        logs.create_log_group(logGroupName=name)
    cloud.logged((NOW_MS, "12345"), group="b")
    logs.put_retention_policy(logGroupName="b", retentionInDays=7)
    pages = list(logs.get_paginator("describe_log_groups").paginate(PaginationConfig={"PageSize": 2}))
    assert [[group["logGroupName"] for group in page["logGroups"]] for page in pages] == [["a/1", "a/2"], ["a/3", "b"]]
    group = pages[1]["logGroups"][1]
    assert group["arn"] == f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:b:*"
    assert group["logGroupArn"] == f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:b"
    assert (group["creationTime"], group["retentionInDays"], group["storedBytes"]) == (NOW_MS, 7, 5)
    assert "retentionInDays" not in pages[0]["logGroups"][0]


def test_groups_are_found_by_prefix_pattern_or_identifier(logs: Any) -> None:
    for name in ("app/web", "app/db", "web", "Web"):
        logs.create_log_group(logGroupName=name)

    def names(**parameters: object) -> list[str]:
        return [group["logGroupName"] for group in logs.describe_log_groups(**parameters)["logGroups"]]

    assert names(logGroupNamePrefix="app/") == ["app/db", "app/web"]
    assert names(logGroupNamePattern="web") == ["app/web", "web"]
    assert names(logGroupNamePattern="web", limit=1) == ["app/web"]
    arn = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:"
    assert names(logGroupIdentifiers=["web", arn + "app/db", arn + "absent"]) == ["app/db", "web"]
    assert names(logGroupClass="DELIVERY") == []
    with pytest.raises(ClientError, match="mutually exclusive"):
        names(logGroupNamePrefix="a", logGroupNamePattern="b")


def test_streams_are_described_by_name_and_by_their_last_event(logs: Any, cloud: Cloud) -> None:
    for n, name in enumerate(["x/2", "x/1", "y"]):
        cloud.logged((NOW_MS - 10 + n, "m"), stream=name)
    logs.create_log_stream(logGroupName=GROUP, logStreamName="empty")
    paginator = logs.get_paginator("describe_log_streams")

    def names(**parameters: object) -> list[str]:
        pages = paginator.paginate(logGroupName=GROUP, PaginationConfig={"PageSize": 1}, **parameters)
        return [stream["logStreamName"] for page in pages for stream in page["logStreams"]]

    assert names() == ["empty", "x/1", "x/2", "y"]
    assert names(descending=True) == ["y", "x/2", "x/1", "empty"]
    assert names(logStreamNamePrefix="x/") == ["x/1", "x/2"]
    assert names(orderBy="LastEventTime", descending=True) == ["y", "x/1", "x/2", "empty"]
    empty, first, *_ = logs.describe_log_streams(logGroupIdentifier=ARN)["logStreams"]
    assert first["arn"] == f"{ARN}:log-stream:x/1"
    assert (first["firstEventTimestamp"], first["lastEventTimestamp"]) == (NOW_MS - 9, NOW_MS - 9)
    assert first["lastIngestionTime"] == NOW_MS
    assert "lastEventTimestamp" not in empty
    with pytest.raises(ClientError, match="Cannot order by LastEventTime"):
        names(orderBy="LastEventTime", logStreamNamePrefix="x")


@pytest.mark.parametrize("operation", ["describe_log_groups", "describe_log_streams", "filter_log_events"])
@pytest.mark.parametrize("token", ["nonsense", "WzFd", "====", "f/1/s", f"f/{'9' * 56}/s"])
def test_a_token_that_was_never_given_is_refused(logs: Any, cloud: Cloud, operation: str, token: str) -> None:
    cloud.logged((NOW_MS, "m"))
    parameters = {} if operation == "describe_log_groups" else {"logGroupName": GROUP}
    with pytest.raises(ClientError) as error:
        getattr(logs, operation)(nextToken=token, **parameters)
    assert refusal(error) == ("InvalidParameterException", "The specified nextToken is invalid.")


def test_a_group_is_named_by_name_or_identifier_but_not_by_both_or_none(logs: Any, cloud: Cloud) -> None:
    cloud.logged((NOW_MS, "m"))
    for parameters in ({"logGroupIdentifier": GROUP}, {"logGroupIdentifier": ARN}):
        assert texts(logs.get_log_events(logStreamName="s", **parameters)) == ["m"]
        assert texts(logs.filter_log_events(**parameters)) == ["m"]
    for parameters in ({}, {"logGroupIdentifier": ARN, "logGroupName": GROUP}):
        with pytest.raises(ClientError, match="but not both"):
            logs.filter_log_events(**parameters)
    for other in (ARN.replace(REGION, "us-east-1"), ARN.replace(ACCOUNT, "210987654321")):
        with pytest.raises(ClientError) as error:
            logs.filter_log_events(logGroupIdentifier=other)
        assert refusal(error) == NO_GROUP


def test_the_newest_page_comes_first_unless_the_head_is_asked_for(logs: Any, cloud: Cloud) -> None:
    cloud.logged(*((NOW_MS + n, str(n)) for n in range(10)))
    stream = {"logGroupName": GROUP, "logStreamName": "s", "limit": 3}
    assert texts(logs.get_log_events(**stream)) == ["7", "8", "9"]
    assert texts(logs.get_log_events(**stream, startFromHead=True)) == ["0", "1", "2"]


def test_tokens_lead_forward_and_back_over_every_event_and_stop_changing_at_the_end(logs: Any, cloud: Cloud) -> None:
    cloud.logged(*((NOW_MS + n // 4, str(n)) for n in range(10)))
    stream = {"logGroupName": GROUP, "logStreamName": "s", "limit": 4}
    first = logs.get_log_events(**stream, startFromHead=True)
    second = logs.get_log_events(**stream, startFromHead=True, nextToken=first["nextForwardToken"])
    third = logs.get_log_events(**stream, startFromHead=True, nextToken=second["nextForwardToken"])
    assert [texts(page) for page in (first, second, third)] == [list("0123"), list("4567"), list("89")]

    end = logs.get_log_events(**stream, nextToken=third["nextForwardToken"])
    assert texts(end) == []
    assert end["nextForwardToken"] == third["nextForwardToken"]
    assert texts(logs.get_log_events(**stream, nextToken=end["nextBackwardToken"])) == list("6789")
    back = logs.get_log_events(**stream, nextToken=second["nextBackwardToken"])
    assert texts(back) == list("0123")
    start = logs.get_log_events(**stream, nextToken=back["nextBackwardToken"])
    assert texts(start) == []
    assert start["nextBackwardToken"] == back["nextBackwardToken"]
    assert texts(logs.get_log_events(**stream, nextToken=start["nextForwardToken"])) == list("0123")

    cloud.logged((NOW_MS + 9, "new"))
    assert texts(logs.get_log_events(**stream, nextToken=end["nextForwardToken"])) == ["new"]


def test_the_tokens_of_an_empty_stream_find_what_is_logged_later(logs: Any, cloud: Cloud) -> None:
    logs.create_log_group(logGroupName=GROUP)
    logs.create_log_stream(logGroupName=GROUP, logStreamName="s")
    empty = logs.get_log_events(logGroupName=GROUP, logStreamName="s")
    assert empty["events"] == []
    cloud.logged((NOW_MS, "first"))
    later = logs.get_log_events(logGroupName=GROUP, logStreamName="s", nextToken=empty["nextForwardToken"])
    assert texts(later) == ["first"]


def test_the_end_of_a_range_is_left_out_when_getting_and_included_when_filtering(logs: Any, cloud: Cloud) -> None:
    cloud.logged(*((NOW_MS + n, str(n)) for n in range(5)))
    time = {"startTime": NOW_MS + 1, "endTime": NOW_MS + 3}
    assert texts(logs.get_log_events(logGroupName=GROUP, logStreamName="s", **time)) == ["1", "2"]
    assert texts(logs.filter_log_events(logGroupName=GROUP, **time)) == ["1", "2", "3"]
    far = {"startTime": 0, "endTime": 10**25}
    assert len(texts(logs.filter_log_events(logGroupName=GROUP, **far))) == 5


def test_an_answer_holds_at_most_a_mebibyte(logs: Any, cloud: Cloud) -> None:
    for n in range(5):
        cloud.logged((NOW_MS + n, "x" * 400_000))
    assert len(logs.get_log_events(logGroupName=GROUP, logStreamName="s")["events"]) == 2
    pages = list(logs.get_paginator("filter_log_events").paginate(logGroupName=GROUP, filterPattern="x"))
    assert [len(page["events"]) for page in pages] == [2, 2, 1]


def test_filtering_finds_matching_events_of_all_streams_in_order_of_time(logs: Any, cloud: Cloud) -> None:
    for n in range(30):
        cloud.logged((NOW_MS + n, f"{'ERROR' if n % 5 == 0 else 'fine'} {n}"), stream=f"s{n % 3}")
    paginator = logs.get_paginator("filter_log_events")
    for size in (1, 2, 4, 100):
        pages = paginator.paginate(logGroupName=GROUP, filterPattern="ERROR", PaginationConfig={"PageSize": size})
        found = [event for page in pages for event in page["events"]]
        assert [event["message"] for event in found] == [f"ERROR {n}" for n in range(0, 30, 5)]
        assert len({event["eventId"] for event in found}) == 6
        assert [event["logStreamName"] for event in found] == ["s0", "s2", "s1", "s0", "s2", "s1"]


def test_filtering_can_begin_with_the_newest(logs: Any, cloud: Cloud) -> None:
    cloud.logged(*((NOW_MS + n, str(n)) for n in range(7)))
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=GROUP, startFromHead=False, PaginationConfig={"PageSize": 3}
    )
    assert "".join(text for page in pages for text in texts(page)) == "6543210"


def test_filtering_is_limited_to_named_or_prefixed_streams(logs: Any, cloud: Cloud) -> None:
    for name in ("a1", "a2", "b"):
        cloud.logged((NOW_MS, name), stream=name)
    assert texts(logs.filter_log_events(logGroupName=GROUP, logStreamNames=["b", "a1", "absent"])) == ["a1", "b"]
    assert texts(logs.filter_log_events(logGroupName=GROUP, logStreamNamePrefix="a")) == ["a1", "a2"]
    with pytest.raises(ClientError, match="but not both"):
        logs.filter_log_events(logGroupName=GROUP, logStreamNames=["b"], logStreamNamePrefix="a")


def test_a_long_search_answers_in_parts_and_still_finds_everything(logs: Any, cloud: Cloud) -> None:
    for n in range(60):
        cloud.logged((NOW_MS + n, f"needle{n}" if n in (0, 59) else "x" * 700_000))
    pages = list(logs.get_paginator("filter_log_events").paginate(logGroupName=GROUP, filterPattern="needle0"))
    assert len(pages) > 1
    assert [text for page in pages for text in texts(page)] == ["needle0"]


def test_an_invalid_pattern_is_refused_as_aws_does(logs: Any, cloud: Cloud) -> None:
    cloud.logged((NOW_MS, "m"))
    with pytest.raises(ClientError) as error:
        logs.filter_log_events(logGroupName=GROUP, filterPattern="{ $.a = }")
    assert refusal(error) == ("InvalidParameterException", "Invalid filter pattern")


def test_expired_events_are_not_shown_even_before_they_are_removed(logs: Any, cloud: Cloud) -> None:
    cloud.logged((NOW_MS - DAY_MS - 1, "old"), (NOW_MS - DAY_MS, "young"))
    logs.put_retention_policy(logGroupName=GROUP, retentionInDays=1)
    assert texts(logs.get_log_events(logGroupName=GROUP, logStreamName="s")) == ["young"]
    assert texts(logs.filter_log_events(logGroupName=GROUP, startTime=0)) == ["young"]
    cloud.now_ms += 1
    assert texts(logs.filter_log_events(logGroupName=GROUP)) == []
    logs.delete_retention_policy(logGroupName=GROUP)
    assert texts(logs.filter_log_events(logGroupName=GROUP)) == ["old", "young"]


def test_a_retention_that_aws_does_not_offer_is_refused(logs: Any) -> None:
    logs.create_log_group(logGroupName="g")
    with pytest.raises(ClientError, match="Value '4' at 'retentionInDays' failed to satisfy constraint"):
        logs.put_retention_policy(logGroupName="g", retentionInDays=4)


def put(logs: Any, *timestamps: int, message: str = "m", **parameters: object) -> dict[str, Any]:
    events = [{"timestamp": timestamp, "message": message} for timestamp in timestamps]
    answer: dict[str, Any] = logs.put_log_events(logGroupName=GROUP, logStreamName="s", logEvents=events, **parameters)
    return answer


def test_events_too_old_or_too_new_are_rejected_by_index_and_the_rest_kept(logs: Any, cloud: Cloud) -> None:
    cloud.logged((NOW_MS, "there"))
    old, new = NOW_MS - 14 * DAY_MS - 1, NOW_MS + 2 * HOUR_MS + 1
    answer = put(logs, old, old, NOW_MS - 1, NOW_MS, new)
    assert answer["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 2, "tooNewLogEventStartIndex": 4}
    assert texts(logs.get_log_events(logGroupName=GROUP, logStreamName="s")) == ["m", "there", "m"]
    logs.put_retention_policy(logGroupName=GROUP, retentionInDays=1)
    answer = put(logs, NOW_MS - DAY_MS - 1, NOW_MS)
    assert answer["rejectedLogEventsInfo"] == {"expiredLogEventEndIndex": 1}
    assert put(logs, new)["rejectedLogEventsInfo"] == {"tooNewLogEventStartIndex": 0}


@pytest.mark.parametrize(
    ("timestamps", "message", "expected"),
    [
        ([NOW_MS, NOW_MS - 1], "m", "must be in chronological order"),
        ([NOW_MS - DAY_MS - 1, NOW_MS], "m", "cannot span more than 24 hours"),
        ([NOW_MS], "x" * (1_048_576 - 25), "Log event too large: 1048577 bytes exceeds limit of 1048576"),
        ([NOW_MS] * 2, "x" * 524_263, "Upload too large: 1048578 bytes exceeds limit of 1048576"),
    ],
)
def test_a_batch_that_breaks_the_rules_is_refused_whole(
    logs: Any, cloud: Cloud, timestamps: list[int], message: str, expected: str
) -> None:
    cloud.logged((NOW_MS, "there"))
    with pytest.raises(ClientError, match=expected) as error:
        put(logs, *timestamps, message=message)
    assert refusal(error)[0] == "InvalidParameterException"
    assert texts(logs.filter_log_events(logGroupName=GROUP)) == ["there"]


def test_an_entity_is_rejected_and_its_events_are_kept(logs: Any, cloud: Cloud) -> None:
    cloud.logged((NOW_MS, "there"))
    answer = put(logs, NOW_MS, entity={"keyAttributes": {"Type": "Service", "Name": "x"}})
    assert answer["rejectedEntityInfo"] == {"errorType": "UnsupportedLogGroupType"}
    assert texts(logs.filter_log_events(logGroupName=GROUP)) == ["there", "m"]


def test_following_a_group_as_aws_logs_tail_does_shows_each_event_once(logs: Any, cloud: Cloud) -> None:
    """The AWS CLI polls from the newest time it has seen, and leaves out what it knows by its event id."""
    shown: list[str] = []
    known: dict[int, set[str]] = {}
    parameters: dict[str, Any] = {"logGroupName": GROUP, "interleaved": True, "startTime": NOW_MS - 10, "limit": 3}

    def poll_to_the_end() -> None:
        while True:
            answer = logs.filter_log_events(**parameters)
            for event in answer["events"]:
                ids = known.setdefault(event["timestamp"], set())
                if event["eventId"] not in ids:
                    ids.add(event["eventId"])
                    shown.append(event["message"])
            if "nextToken" not in answer:
                break
            parameters["nextToken"] = answer["nextToken"]
        parameters.pop("nextToken", None)
        newest = max(known)
        parameters["startTime"] = newest
        for timestamp in known.keys() - {newest}:
            del known[timestamp]

    cloud.logged(*((NOW_MS, f"a{n}") for n in range(5)), stream="a")
    poll_to_the_end()
    cloud.logged((NOW_MS, "b0"), (NOW_MS + 1, "b1"), stream="b")
    cloud.logged((NOW_MS + 1, "a5"), stream="a")
    poll_to_the_end()
    poll_to_the_end()
    cloud.logged((NOW_MS + 1, "a6"), (NOW_MS + 2, "a7"), stream="a")
    poll_to_the_end()
    assert shown == ["a0", "a1", "a2", "a3", "a4", "b0", "b1", "a5", "a6", "a7"]
