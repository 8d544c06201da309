"""Tags: TagResource, UntagResource, ListTags, of whatever has tags (reference/api.md §7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from lambent.control.answers import Answer
from lambent.control.catalogue import Catalogue, Found
from lambent.control.names import function_arn
from lambent.control.operation import Operation, parsing
from lambent.control.requests import TaggedRequest, TagResourceRequest, UntagResourceRequest
from lambent.control.validation import check_tags
from lambent.model.caller import CallerContext
from lambent.model.errors import InvalidParameterValue, ResourceNotFound

Tagging = Mapping[str, str]


class Tagged(Protocol):
    """Where the tags of one kind of resource are kept; raises ApiError where the ARN names nothing of the caller's."""

    async def tags(self, caller: CallerContext, arn: str) -> Tagging: ...

    async def retag(self, caller: CallerContext, arn: str, change: Callable[[Tagging], Tagging]) -> None:
        """Replace the tags by what `change` makes of them; whatever it raises leaves them as they are."""
        ...


class Tags:
    """The operations. `kinds` is by the ARN's word for a resource: `function`, `event-source-mapping` …"""

    def __init__(self, kinds: Mapping[str, Tagged]) -> None:
        self._kinds = kinds

    @property
    def operations(self) -> Mapping[str, Operation]:
        return {
            "TagResource": parsing(TagResourceRequest, self.tag_resource),
            "UntagResource": parsing(UntagResourceRequest, self.untag_resource),
            "ListTags": parsing(TaggedRequest, self.list_tags),
        }

    async def tag_resource(self, caller: CallerContext, request: TagResourceRequest) -> Answer:
        def tagged(before: Tagging) -> Tagging:
            after = {**before, **request.tags}
            check_tags(after)
            return after

        await self._kind(request.resource).retag(caller, request.resource, tagged)
        return {}

    async def untag_resource(self, caller: CallerContext, request: UntagResourceRequest) -> Answer:
        """A key that is not there is no error."""

        def untagged(before: Tagging) -> Tagging:
            return {key: value for key, value in before.items() if key not in request.tag_keys}

        await self._kind(request.resource).retag(caller, request.resource, untagged)
        return {}

    async def list_tags(self, caller: CallerContext, request: TaggedRequest) -> Answer:
        return {"Tags": dict(await self._kind(request.resource).tags(caller, request.resource))}

    def _kind(self, arn: str) -> Tagged:
        kind = self._kinds.get(arn.split(":")[5])
        if kind is None:
            raise ResourceNotFound("The resource you requested does not exist.")
        return kind


class FunctionTags:
    """Implements `Tagged`: tags are part of the function's record."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def tags(self, caller: CallerContext, arn: str) -> Tagging:
        return (await self._find(caller, "ListTags", arn)).record.tags

    async def retag(self, caller: CallerContext, arn: str, change: Callable[[Tagging], Tagging]) -> None:
        async with self._catalogue.changing:
            found = await self._find(caller, "TagResource", arn)
            record = replace(found.record, tags=change(found.record.tags))
            await self._catalogue.put(record, found.revision)

    async def _find(self, caller: CallerContext, operation: str, arn: str) -> Found:
        function = function_arn(caller, operation, arn)
        if function.qualifier is not None:
            raise InvalidParameterValue(
                "Tags on function aliases and versions are not supported. Please specify a function ARN."
            )
        return await self._catalogue.find(function)
