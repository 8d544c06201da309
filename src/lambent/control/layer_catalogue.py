"""The layers that exist, in the store: one record per layer with all of its versions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from lambent.control.packages import Packages
from lambent.control.usage import Holding, Ledger
from lambent.model.caller import CallerContext
from lambent.model.errors import AccessDenied, InvalidParameterValue, ResourceNotFound
from lambent.model.layer import LayerArn, LayerRecord, LayerVersion, layer_key, parse_layer_arn
from lambent.model.records import decode_layer, encode
from lambent.ports.store import ABSENT, Entry, Revision, Store

_SCAN = 100


@dataclass(frozen=True, slots=True)
class FoundLayer:
    """A layer's record with the revision that its next write must expect."""

    record: LayerRecord
    revision: Revision


class LayerCatalogue:
    """`changing` is held from reading a record to writing it, as for functions: quotas span both."""

    def __init__(self, store: Store, ledger: Ledger, packages: Packages, changing: asyncio.Lock) -> None:
        self._store = store
        self._ledger = ledger
        self._packages = packages
        self.changing = changing

    async def load(self) -> None:
        """Count what exists into the ledger."""
        async for entry in self._entries("layer/"):
            self._ledger.note(entry.key, Holding.of_layer(decode_layer(entry.value)))

    async def get(self, layer: LayerArn) -> FoundLayer:
        """The layer, or a new one that has no version yet."""
        entry = await self._store.get(layer_key(layer.account, layer.region, layer.name))
        if entry is None:
            return FoundLayer(LayerRecord(account=layer.account, region=layer.region, name=layer.name), ABSENT)
        return FoundLayer(decode_layer(entry.value), entry.revision)

    async def version(self, layer: LayerArn) -> LayerVersion | None:
        record = (await self.get(layer)).record
        return None if layer.version is None else record.version(layer.version)

    async def all(self, account: str, region: str, *, after: str) -> AsyncIterator[LayerRecord]:
        """The layers of an account and region by name, behind the name `after`."""
        prefix = layer_key(account, region, "")
        async for entry in self._entries(prefix, layer_key(account, region, after) if after else ""):
            yield decode_layer(entry.value)

    async def put(self, record: LayerRecord, expected: Revision) -> None:
        key = layer_key(record.account, record.region, record.name)
        await self._store.put(key, encode(record), expected=expected)
        await self._packages.collect(self._ledger.note(key, Holding.of_layer(record)))

    async def _entries(self, prefix: str, after: str = "") -> AsyncIterator[Entry]:
        while page := await self._store.scan(prefix, after=after, limit=_SCAN):
            for entry in page:
                yield entry
            after = page[-1].key


def layer_arn(caller: CallerContext, name: str, version: int | None = None) -> LayerArn:
    """What a caller wrote as LayerName, a name or an ARN without version, and as VersionNumber.

    Raises:
        InvalidParameterValue: no version has that number.
        ResourceNotFound: an ARN of another region.
    """
    if version is not None and version < 1:
        raise InvalidParameterValue("Layer Version Cannot be less than 1")
    layer = parse_layer_arn(name) or LayerArn(caller.region, caller.account, name)
    if layer.region != caller.region:
        raise absent()
    return layer if version is None else layer.versioned(version)


def own_layer_arn(caller: CallerContext, operation: str, name: str, version: int | None = None) -> LayerArn:
    """As `layer_arn`, for what only the layer's own account may do.

    Raises:
        AccessDenied: it belongs to another account.
    """
    layer = layer_arn(caller, name, version)
    if layer.account != caller.account:
        raise denied(caller, operation, layer)
    return layer


def require_readable(caller: CallerContext, layer: LayerArn, version: LayerVersion | None) -> None:
    """Raises AccessDenied where the layer is another account's and its policy does not name the caller's."""
    principals = {statement.principal for statement in version.policy} if version is not None else set()
    if layer.account != caller.account and not {"*", caller.account} & principals:
        raise denied(caller, "GetLayerVersion", layer)


def absent() -> ResourceNotFound:
    return ResourceNotFound("The resource you requested does not exist.")


def denied(caller: CallerContext, operation: str, layer: LayerArn) -> AccessDenied:
    return AccessDenied(
        f"User: {caller.arn} is not authorized to perform: lambda:{operation} on resource: {layer} because no "
        f"resource-based policy allows the lambda:{operation} action"
    )
