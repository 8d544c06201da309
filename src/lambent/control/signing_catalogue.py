"""The code signing configurations that exist, in the store."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lambent.model.caller import CallerContext
from lambent.model.code_signing import CodeSigningConfig, config_prefix
from lambent.model.errors import ResourceConflict
from lambent.model.records import decode_code_signing, encode
from lambent.ports.store import ABSENT, Revision, RevisionMismatch, Store

_ARN = re.compile(r"arn:aws[a-zA-Z-]*:lambda:(?P<region>[^:]+):(?P<account>\d{12}):code-signing-config:(?P<id>[^:]+)")


@dataclass(frozen=True, slots=True)
class FoundConfig:
    """A configuration with the revision that its next write must expect."""

    config: CodeSigningConfig
    revision: Revision


class SigningCatalogue:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(self, caller: CallerContext, arn: str) -> FoundConfig | None:
        """What the ARN names, if it is the caller's own and of the region that was asked."""
        match = _ARN.fullmatch(arn)
        if match is None or (match["account"], match["region"]) != (caller.account, caller.region):
            return None
        entry = await self._store.get(config_prefix(caller.account, caller.region) + match["id"])
        return FoundConfig(decode_code_signing(entry.value), entry.revision) if entry else None

    async def page(self, caller: CallerContext, *, after: str, limit: int) -> Sequence[CodeSigningConfig]:
        """Configurations in order of id, behind the id `after`."""
        prefix = config_prefix(caller.account, caller.region)
        entries = await self._store.scan(prefix, after=prefix + after if after else "", limit=limit)
        return [decode_code_signing(entry.value) for entry in entries]

    async def put(self, config: CodeSigningConfig, expected: Revision = ABSENT) -> None:
        """Write a configuration that was read at `expected`, or a new one.

        Raises:
            ResourceConflict: somebody else was there first.
        """
        try:
            await self._store.put(_key(config), encode(config), expected=expected)
        except RevisionMismatch as error:
            raise ResourceConflict(
                f"The operation cannot be performed at this time. {config.arn} was changed by another request."
            ) from error

    async def remove(self, found: FoundConfig) -> None:
        await self._store.delete(_key(found.config), expected=found.revision)


def _key(config: CodeSigningConfig) -> str:
    return config_prefix(config.account, config.region) + config.id
