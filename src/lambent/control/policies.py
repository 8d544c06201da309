"""Resource policies in the store: one each for a function, its versions and its aliases (reference/iam.md §4).

A policy's RevisionId is that of what it guards, so adding a permission renews both, and so does publishing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lambent.control.catalogue import Catalogue, Found, is_number
from lambent.control.stamps import Stamps
from lambent.model.arn import LATEST, FunctionArn
from lambent.model.errors import InvalidParameterValue, PolicyLengthExceeded, ResourceNotFound
from lambent.model.function import Alias, FunctionRecord, FunctionVersion
from lambent.model.policy import POLICY_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """What a policy is about; `document` is None while it has none."""

    arn: FunctionArn
    found: Found
    revision_id: str
    document: str | None


def require_guardable(arn: FunctionArn) -> None:
    """Raises InvalidParameterValue for $LATEST by that name, which never has a policy of its own."""
    if arn.qualifier == LATEST:
        raise InvalidParameterValue("We currently do not support adding policies for $LATEST.")


class Policies:
    def __init__(self, catalogue: Catalogue, stamps: Stamps) -> None:
        self._catalogue = catalogue
        self._stamps = stamps
        self.changing = catalogue.changing

    async def find(self, arn: FunctionArn) -> Guarded:
        """The function, version or alias that is meant.

        Raises:
            ResourceNotFound: there is no such thing.
        """
        found = await self._catalogue.find(arn)
        return Guarded(
            arn=arn,
            found=found,
            revision_id=(await self._bearer(found.record, arn)).revision_id,
            document=found.record.policies.get(arn.qualifier or ""),
        )

    async def put(self, guarded: Guarded, document: str | None) -> str:
        """Store the document, or that there is none, and return the new RevisionId.

        Raises:
            PolicyLengthExceeded: it is longer than 20 KB.
        """
        size = len((document or "").encode())
        if size > POLICY_BYTES:
            raise PolicyLengthExceeded(f"The final policy size ({size}) is bigger than the limit ({POLICY_BYTES}).")
        policies = {**guarded.found.record.policies, guarded.arn.qualifier or "": document}
        kept = {qualifier: text for qualifier, text in policies.items() if text is not None}
        record = replace(guarded.found.record, policies=kept)
        revision_id = self._stamps.new_id()
        await self._catalogue.put(await self._renewed(record, guarded.arn, revision_id), guarded.found.revision)
        return revision_id

    async def _bearer(self, record: FunctionRecord, arn: FunctionArn) -> FunctionVersion | Alias:
        """Whose RevisionId a policy has."""
        qualifier = arn.qualifier or LATEST
        if qualifier == LATEST:
            return record.latest
        if is_number(qualifier):
            return await self._catalogue.version(record, arn)
        alias = record.aliases.get(qualifier)
        if alias is None:
            raise ResourceNotFound(f"Cannot find alias arn: {arn}")
        return alias

    async def _renewed(self, record: FunctionRecord, arn: FunctionArn, revision_id: str) -> FunctionRecord:
        bearer = replace(await self._bearer(record, arn), revision_id=revision_id)
        if isinstance(bearer, Alias):
            return replace(record, aliases={**record.aliases, bearer.name: bearer})
        if arn.qualifier is None:
            return replace(record, latest=bearer)
        await self._catalogue.put_version(bearer)
        return record
