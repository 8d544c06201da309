"""The operations on log groups and streams themselves: creating, describing, keeping and deleting them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any  # Any: parameters are of whatever type the service model gives them

from lambent.logs.directory import NO_GROUP, NO_STREAM, find_group, group_key
from lambent.logs.errors import AlreadyExists, InvalidParameter, NotFound
from lambent.logs.names import (
    event_id,
    group_arn,
    list_token,
    parse_group,
    parse_list_token,
    parse_timed_list_token,
    stream_arn,
)
from lambent.logs.tags_api import check
from lambent.model.caller import CallerContext
from lambent.model.errors import NotImplementedByLambent
from lambent.ports.log_store import Group, GroupKey, LogStore, Position, Stream, StreamKey

PAGE = 50
RETENTION_DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653),
)


class GroupsApi:
    """`clock_ms` gives the time in epoch milliseconds."""

    def __init__(self, store: LogStore, clock_ms: Callable[[], int]) -> None:
        self._store = store
        self._clock_ms = clock_ms

    async def create_log_group(self, caller: CallerContext, parameters: dict[str, Any]) -> dict[str, Any]:
        _refuse(parameters, "kmsKeyId", "deletionProtectionEnabled")
        if parameters.get("logGroupClass", "STANDARD") != "STANDARD":
            raise NotImplementedByLambent("Lambent supports no logGroupClass but STANDARD")
        key = group_key(caller, parameters)
        if key.name.lower().startswith("aws/"):
            raise InvalidParameter("Log groups starting with AWS/ are reserved for AWS.")
        tags = parameters.get("tags", {})
        check(tags)
        if not await self._store.create_group(key, created_ms=self._clock_ms(), tags=tags):
            raise AlreadyExists("The specified log group already exists")
        return {}

    async def create_log_stream(self, caller: CallerContext, parameters: dict[str, Any]) -> dict[str, Any]:
        group = await find_group(self._store, caller, parameters)
        stream = StreamKey(group.key, parameters["logStreamName"])
        if not await self._store.create_stream(stream, created_ms=self._clock_ms()):
            raise AlreadyExists("The specified log stream already exists")
        return {}

    async def delete_log_group(self, caller: CallerContext, parameters: dict[str, Any]) -> dict[str, Any]:
        if not await self._store.delete_group(group_key(caller, parameters)):
            raise NotFound(NO_GROUP)
        return {}

    async def delete_log_stream(self, caller: CallerContext, parameters: dict[str, Any]) -> dict[str, Any]:
        group = await find_group(self._store, caller, parameters)
        if not await self._store.delete_stream(StreamKey(group.key, parameters["logStreamName"])):
            raise NotFound(NO_STREAM)
        return {}

    async def put_retention_policy(self, caller: CallerContext, parameters: dict[str, Any]) -> dict[str, Any]:
        days = parameters["retentionInDays"]
        if days not in RETENTION_DAYS:
            raise InvalidParameter(
                f"1 validation error detected: Value '{days}' at 'retentionInDays' failed to satisfy constraint: "
                f"Member must satisfy enum value set: [{', '.join(map(str, RETENTION_DAYS))}]"
            )
        return await self._set_retention(caller, parameters, days)

    async def delete_retention_policy(self, caller: CallerContext, parameters: dict[str, Any]) -> dict[str, Any]:
        return await self._set_retention(caller, parameters, None)

    async def describe_log_groups(self, caller: CallerContext, parameters: dict[str, Any]) -> dict[str, Any]:
        _refuse(parameters, "accountIdentifiers", "includeLinkedAccounts")
        prefix, pattern = parameters.get("logGroupNamePrefix", ""), parameters.get("logGroupNamePattern", "")
        if prefix and pattern:
            raise InvalidParameter("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
        if parameters.get("logGroupClass", "STANDARD") != "STANDARD":
            return {"logGroups": []}
        if "logGroupIdentifiers" in parameters:
            return {"logGroups": await self._named(caller, parameters["logGroupIdentifiers"])}
        after = parse_list_token(parameters["nextToken"]) if "nextToken" in parameters else ""
        limit = parameters.get("limit", PAGE)
        groups = await self._groups(caller, prefix, pattern, after, limit + 1)
        answer: dict[str, Any] = {"logGroups": [_describe_group(group) for group in groups[:limit]]}
        if len(groups) > limit:
            answer["nextToken"] = list_token(groups[limit - 1].key.name)
        return answer

    async def describe_log_streams(self, caller: CallerContext, parameters: dict[str, Any]) -> dict[str, Any]:
        group = (await find_group(self._store, caller, parameters)).key
        limit, descending = parameters.get("limit", PAGE), parameters.get("descending", False)
        token, prefix = parameters.get("nextToken"), parameters.get("logStreamNamePrefix", "")
        by_time = parameters.get("orderBy") == "LastEventTime"
        if by_time and prefix:
            raise InvalidParameter("Cannot order by LastEventTime with a logStreamNamePrefix.")
        if by_time:
            last = parse_timed_list_token(token) if token else None
            streams = await self._store.streams_by_time(group, after=last, limit=limit + 1, descending=descending)
        else:
            name = parse_list_token(token) if token else None
            streams = await self._store.streams(
                group, prefix=prefix, after=name, limit=limit + 1, descending=descending
            )
        answer: dict[str, Any] = {"logStreams": [_describe_stream(group, stream) for stream in streams[:limit]]}
        if len(streams) > limit:
            end = streams[limit - 1]
            answer["nextToken"] = list_token(end.last_event_ms, end.name) if by_time else list_token(end.name)
        return answer

    async def _set_retention(
        self, caller: CallerContext, parameters: dict[str, Any], days: int | None
    ) -> dict[str, Any]:
        if not await self._store.set_retention(group_key(caller, parameters), days):
            raise NotFound(NO_GROUP)
        return {}

    async def _named(self, caller: CallerContext, identifiers: list[str]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for key in {parse_group(identifier, caller) for identifier in identifiers}:
            if (key.account, key.region) == (caller.account, caller.region):
                groups = await self._store.groups(key.account, key.region, prefix=key.name, limit=1)
                found += [_describe_group(group) for group in groups if group.key == key]
        return sorted(found, key=lambda group: str(group["logGroupName"]))

    async def _groups(self, caller: CallerContext, prefix: str, pattern: str, after: str, limit: int) -> list[Group]:
        found: list[Group] = []
        while page := await self._store.groups(caller.account, caller.region, prefix=prefix, after=after, limit=limit):
            found += [group for group in page if pattern in group.key.name]
            if len(page) < limit or len(found) >= limit:
                break
            after = page[-1].key.name
        return found[:limit]


def _refuse(parameters: dict[str, Any], *names: str) -> None:
    for name in names:
        if parameters.get(name):
            raise NotImplementedByLambent(f"Lambent does not support {name} on log groups yet")


def _describe_group(group: Group) -> dict[str, Any]:
    answer = {
        "logGroupName": group.key.name,
        "creationTime": group.created_ms,
        "metricFilterCount": 0,
        "arn": f"{group_arn(group.key)}:*",
        "logGroupArn": group_arn(group.key),
        "storedBytes": group.stored_bytes,
        "logGroupClass": "STANDARD",
        "deletionProtectionEnabled": False,
    }
    return answer if group.retention_days is None else answer | {"retentionInDays": group.retention_days}


def _describe_stream(group: GroupKey, stream: Stream) -> dict[str, Any]:
    """AWS reports 0 bytes for every stream since 2019, and a sequence token that nobody needs any more."""
    answer = {
        "logStreamName": stream.name,
        "creationTime": stream.created_ms,
        "arn": stream_arn(group, stream.name),
        "storedBytes": 0,
        "uploadSequenceToken": event_id(Position(stream.last_ingested_ms)),
    }
    if stream.last_ingested_ms:
        answer["firstEventTimestamp"] = stream.first_event_ms
        answer["lastEventTimestamp"] = stream.last_event_ms
        answer["lastIngestionTime"] = stream.last_ingested_ms
    return answer
