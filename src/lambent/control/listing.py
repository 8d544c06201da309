"""ListFunctions: pages that stay right while functions come and go (reference/api.md §9)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from lambent.control import answers
from lambent.control.answers import Answer
from lambent.control.catalogue import Catalogue, is_number
from lambent.control.operation import Operation, parsing
from lambent.control.requests import ListFunctionsRequest
from lambent.model.arn import FunctionArn
from lambent.model.caller import CallerContext
from lambent.model.errors import InvalidParameterValue
from lambent.model.function import FunctionRecord, FunctionVersion


class Listing:
    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    @property
    def operations(self) -> Mapping[str, Operation]:
        return {
            "ListFunctions": parsing(ListFunctionsRequest, self.list_functions),
        }

    async def list_functions(self, caller: CallerContext, request: ListFunctionsRequest) -> Answer:
        """In order of name; with FunctionVersion=ALL each function's versions behind its $LATEST."""
        if request.master_region is not None:
            return _replicas(request)
        size = min(request.max_items or answers.PAGE_MAXIMUM, answers.PAGE_MAXIMUM)
        last = answers.read_marker(request.marker)
        if request.function_version == "ALL":
            return await self._list_versions(caller, last, size)
        records = await self._catalogue.page(caller.account, caller.region, after=last, limit=size + 1)
        page = [record.latest for record in records[:size]]
        return {
            "Functions": [answers.listed(latest, latest.arn) for latest in page],
            "NextMarker": answers.marker(page[-1].name) if len(records) > size else None,
        }

    async def _list_versions(self, caller: CallerContext, last: str, size: int) -> Answer:
        page: list[FunctionVersion] = []
        async for version in self._versions_after(caller, last):
            if len(page) == size:
                marker = answers.marker(f"{page[-1].name}:{page[-1].version}")
                break
            page.append(version)
        else:
            marker = None
        return {
            "Functions": [answers.listed(version, version.qualified_arn) for version in page],
            "NextMarker": marker,
        }

    async def _versions_after(self, caller: CallerContext, last: str) -> AsyncIterator[FunctionVersion]:
        """Every version of every function, from behind `name:version` on."""
        name, _, number = last.partition(":")
        if name and (found := await self._catalogue.get(FunctionArn(caller.region, caller.account, name))):
            async for version in self._published(found.record, above=int(number) if is_number(number) else 0):
                yield version
        while records := await self._catalogue.page(caller.account, caller.region, after=name, limit=10):
            for record in records:
                yield record.latest
                async for version in self._published(record):
                    yield version
            name = records[-1].latest.name

    async def _published(self, record: FunctionRecord, above: int = 0) -> AsyncIterator[FunctionVersion]:
        for number in record.versions:
            if number > above and (version := await self._catalogue.published(record, number)):
                yield version


def _replicas(request: ListFunctionsRequest) -> Answer:
    """Whoever names a MasterRegion asks for the edge replicas of its functions, of which there are none."""
    if request.function_version != "ALL":
        raise InvalidParameterValue("FunctionVersion must be ALL where MasterRegion is given.")
    return {"Functions": []}
