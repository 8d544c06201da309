"""Versions: PublishVersion, ListVersionsByFunction (reference/api.md §4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lambent.control import answers, states
from lambent.control.account import Account
from lambent.control.activation import Activations
from lambent.control.answers import Answer
from lambent.control.catalogue import Catalogue, is_number
from lambent.control.names import unqualified_arn
from lambent.control.operation import Operation, parsing
from lambent.control.requests import FunctionPageRequest, PublishVersionRequest
from lambent.control.stamps import Stamps
from lambent.model.arn import LATEST
from lambent.model.caller import CallerContext
from lambent.model.errors import InvalidParameterValue
from lambent.model.function import FunctionRecord, FunctionVersion, State


class Versions:
    def __init__(self, catalogue: Catalogue, account: Account, activations: Activations, stamps: Stamps) -> None:
        self._catalogue = catalogue
        self._account = account
        self._activations = activations
        self._stamps = stamps

    @property
    def operations(self) -> Mapping[str, Operation]:
        return {
            "PublishVersion": parsing(PublishVersionRequest, self.publish_version),
            "ListVersionsByFunction": parsing(FunctionPageRequest, self.list_versions_by_function),
        }

    async def publish_version(self, caller: CallerContext, request: PublishVersionRequest) -> Answer:
        function = unqualified_arn(caller, "PublishVersion", request.function_name)
        async with self._catalogue.changing:
            found = await self._catalogue.find(function)
            record = found.record
            states.require_settled(record.latest, self._stamps.now())
            states.require_publishable(record.latest)
            states.require_revision(record.latest.revision_id, request.revision_id)
            _require_code(record.latest, request.code_sha256)
            version = await self._unchanged(record)
            if version is None:
                self._account.require_storage(caller, record.latest.code_size_bytes)
                record, version = states.published(record, self._stamps.new_id(), request.description)
                record = replace(record, latest=replace(record.latest, revision_id=self._stamps.new_id()))
                await self._catalogue.put_version(version)
                await self._catalogue.put(record, found.revision)
                if states.takes_snapshot(version):
                    self._activations.begin_snapshot(version)
        return answers.configuration(version, version.qualified_arn)

    async def list_versions_by_function(self, caller: CallerContext, request: FunctionPageRequest) -> Answer:
        """$LATEST, then the published versions, oldest first."""
        function = unqualified_arn(caller, "ListVersionsByFunction", request.function_name)
        record = (await self._catalogue.find(function)).record
        last = answers.read_marker(request.marker)
        size = min(request.max_items or answers.PAGE_MAXIMUM, answers.PAGE_MAXIMUM)
        names = [name for name in (LATEST, *map(str, record.versions)) if _comes_after(name, last)]
        page = [await self._catalogue.version(record, function.qualified(name)) for name in names[:size]]
        return {
            "Versions": [answers.listed(version, version.qualified_arn) for version in page],
            "NextMarker": answers.marker(page[-1].version) if len(names) > size else None,
        }

    async def _unchanged(self, record: FunctionRecord) -> FunctionVersion | None:
        """The last version where there is nothing new to publish. One that has failed may be tried again."""
        number = states.unchanged_version(record)
        version = None if number is None else await self._catalogue.published(record, number)
        return version if version is not None and version.state is not State.FAILED else None


def _require_code(latest: FunctionVersion, code_sha256: str | None) -> None:
    if code_sha256 and code_sha256 != latest.code_sha256:
        raise InvalidParameterValue(
            f"CodeSHA256 ({code_sha256}) is different from current CodeSHA256 in $LATEST ({latest.code_sha256}). "
            "Please try again with the CodeSHA256 in $LATEST."
        )


def _comes_after(name: str, last: str) -> bool:
    """In the order of the list, where $LATEST comes first; `last` is empty for the first page."""
    if not last or name == LATEST:
        return not last
    return last == LATEST or (is_number(last) and int(name) > int(last))
