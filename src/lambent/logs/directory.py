"""Finding the log group and the stream that a request names, or saying as AWS does that they do not exist."""

from __future__ import annotations

from collections.abc import Mapping

from lambent.logs.errors import InvalidParameter, NotFound
from lambent.logs.names import parse_group
from lambent.model.caller import CallerContext
from lambent.ports.log_store import Group, GroupKey, LogStore, Stream

NO_GROUP = "The specified log group does not exist."
NO_STREAM = "The specified log stream does not exist."


def group_key(caller: CallerContext, parameters: Mapping[str, object]) -> GroupKey:
    """Of `logGroupName`, or of `logGroupIdentifier` (a name or an ARN) where the operation has it."""
    name, identifier = parameters.get("logGroupName"), parameters.get("logGroupIdentifier")
    if (name is None) == (identifier is None):
        raise InvalidParameter("Specify either logGroupName or logGroupIdentifier, but not both.")
    return parse_group(str(identifier), caller) if name is None else GroupKey(caller.account, caller.region, str(name))


async def find_group(store: LogStore, caller: CallerContext, parameters: Mapping[str, object]) -> Group:
    """Another account's or region's group is out of the caller's reach, and so does not exist."""
    key = group_key(caller, parameters)
    if (key.account, key.region) != (caller.account, caller.region):
        raise NotFound(NO_GROUP)
    groups = await store.groups(key.account, key.region, prefix=key.name, limit=1)
    if not groups or groups[0].key != key:
        raise NotFound(NO_GROUP)
    return groups[0]


async def find_stream(store: LogStore, group: Group, name: str) -> Stream:
    streams = await store.streams(group.key, prefix=name, limit=1)
    if not streams or streams[0].name != name:
        raise NotFound(NO_STREAM)
    return streams[0]
