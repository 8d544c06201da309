"""The operations on the tags of log groups, and their older twins that go by the group's name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any  # Any: parameters are of whatever type the service model gives them

from lambent.logs.directory import NO_GROUP, find_group
from lambent.logs.errors import InvalidParameter, NotFound, TooManyTags
from lambent.logs.names import parse_group
from lambent.model.caller import CallerContext
from lambent.ports.log_store import LogStore

TAGS_MAXIMUM = 50


class TagsApi:
    def __init__(self, store: LogStore) -> None:
        self._store = store

    async def list_tags_for_resource(self, caller: CallerContext, parameters: dict[str, Any]) -> dict[str, Any]:
        return await self.list_tags_log_group(caller, _named(caller, parameters))

    async def tag_resource(self, caller: CallerContext, parameters: dict[str, Any]) -> dict[str, Any]:
        return await self.tag_log_group(caller, _named(caller, parameters))

    async def untag_resource(self, caller: CallerContext, parameters: dict[str, Any]) -> dict[str, Any]:
        return await self.untag_log_group(caller, _named(caller, {**parameters, "tags": parameters["tagKeys"]}))

    async def list_tags_log_group(self, caller: CallerContext, parameters: dict[str, Any]) -> dict[str, Any]:
        return {"tags": dict((await find_group(self._store, caller, parameters)).tags)}

    async def tag_log_group(self, caller: CallerContext, parameters: dict[str, Any]) -> dict[str, Any]:
        def tagged(before: Mapping[str, str]) -> Mapping[str, str]:
            after = {**before, **parameters["tags"]}
            check(after)
            return after

        group = await find_group(self._store, caller, parameters)
        if not await self._store.retag_group(group.key, tagged):
            raise NotFound(NO_GROUP)
        return {}

    async def untag_log_group(self, caller: CallerContext, parameters: dict[str, Any]) -> dict[str, Any]:
        """A key that is not there is no error."""

        def untagged(before: Mapping[str, str]) -> Mapping[str, str]:
            return {key: value for key, value in before.items() if key not in parameters["tags"]}

        group = await find_group(self._store, caller, parameters)
        if not await self._store.retag_group(group.key, untagged):
            raise NotFound(NO_GROUP)
        return {}


def check(tags: Mapping[str, str]) -> None:
    """Raises: TooManyTags, InvalidParameter."""
    if len(tags) > TAGS_MAXIMUM:
        raise TooManyTags(f"A resource can have at most {TAGS_MAXIMUM} tags.")
    if any(key.lower().startswith("aws:") for key in tags):
        raise InvalidParameter("Tag keys starting with aws: are reserved for system use.")


def _named(caller: CallerContext, parameters: dict[str, Any]) -> dict[str, Any]:
    """The same, by the name of the group that `resourceArn` is of."""
    arn = parameters["resourceArn"]
    group = parse_group(arn, caller)
    if group.name == arn:
        raise InvalidParameter("The specified resourceArn is not the ARN of a log group.")
    if (group.account, group.region) != (caller.account, caller.region):
        raise NotFound(NO_GROUP)
    return {**parameters, "logGroupName": group.name}
