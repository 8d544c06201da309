"""From what a caller names to the version that runs: qualifiers, aliases and their weights, states.

Records are cached until the store says that they have changed, so a warm invoke reads nothing.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from lambent.model.arn import LATEST, FunctionArn
from lambent.model.errors import ApiError, ResourceConflict, ResourceNotFound
from lambent.model.function import (
    Alias,
    FunctionRecord,
    FunctionVersion,
    RecursiveLoop,
    State,
    UpdateStatus,
    function_key,
    version_key,
)
from lambent.model.invocation import Target
from lambent.model.records import decode_function, decode_version
from lambent.ports.store import Store


class NoPublishedVersion(ApiError):
    code = "NoPublishedVersionException"
    status = 400


@dataclass(frozen=True, slots=True)
class _Split:
    """An alias that sends a share of its invokes to a second version."""

    main: Target
    additional: Target
    weight: float


Provisions = Mapping[str, Sequence[tuple[Target, int]]]
"""By qualifier: how many environments of which targets are to be initialised ahead."""

Changed = Callable[[FunctionArn, FunctionRecord | None, frozenset[str] | None, Provisions], None]
"""Hears of a record, of the pools that may go on serving it (None: no pool can be yet), and of what is provisioned."""


class Resolver:
    """Resolves function names to targets; `changed` hears of every function record that was written or removed."""

    def __init__(
        self,
        store: Store,
        changed: Changed,
        *,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._changed = changed
        self._draw = draw
        self._cache: dict[FunctionArn, Target | _Split] = {}
        self._by_function: dict[FunctionArn, set[FunctionArn]] = {}
        self._published_pools: dict[str, str] = {}
        """Pool keys by version key, so that a change of a function need not read all of its versions."""
        self._changes = 0

    async def resolve(self, function: FunctionArn) -> Target:
        """The version to run for this (perhaps qualified) function.

        Raises:
            ResourceNotFound: no such function, version or alias.
            ResourceConflict: it exists and cannot be invoked in its state.
        """
        known = self.known(function)
        return known if known is not None else self._choose(await self._look_up(function))

    def known(self, function: FunctionArn) -> Target | None:
        """As `resolve`, if nothing has to be read for that."""
        found = self._cache.get(function)
        return None if found is None else self._choose(found)

    def _choose(self, found: Target | _Split) -> Target:
        if isinstance(found, _Split):
            return found.additional if self._draw() < found.weight else found.main
        return found

    async def begin(self, record: FunctionRecord) -> None:
        """Tell `changed` of a function that was there before: its reservation counts from the first invoke on.

        Most have nothing that it could keep.
        """
        if record.reserved_concurrency is not None or record.provisioned:
            self._changed(record.latest.arn, record, None, await self._provisions(record))

    def forget(self, key: str) -> None:
        """Called for each change below `function/`: what was cached of that function is stale."""
        self._changes += 1
        _, account, region, name = key.split("/")
        function = FunctionArn(region, account, name)
        for cached in self._by_function.pop(function, ()):
            self._cache.pop(cached, None)

    def forget_version(self, key: str) -> None:
        """Called for each change below `version/`."""
        self._published_pools.pop(key, None)

    async def refresh(self, key: str) -> None:
        """Tell `changed` what a function record holds now and which pools may go on serving it."""
        entry = await self._store.get(key)
        _, account, region, name = key.split("/")
        function = FunctionArn(region, account, name)
        if entry is None:
            self._changed(function, None, frozenset(), {})
            return
        record = decode_function(entry.value)
        published = [await self._published_pool(record, number) for number in record.versions]
        keep = {pool_key(serving(record)), *(pool for pool in published if pool is not None)}
        self._changed(function, record, frozenset(keep), await self._provisions(record))

    async def _published_pool(self, record: FunctionRecord, number: int) -> str | None:
        latest = record.latest
        key = version_key(latest.account, latest.region, latest.name, number)
        pool = self._published_pools.get(key)
        if pool is None and (published := await self._published(record, number)) is not None:
            pool = self._published_pools[key] = pool_key(published)
        return pool

    async def _provisions(self, record: FunctionRecord) -> Provisions:
        provisions: dict[str, Sequence[tuple[Target, int]]] = {}
        for qualifier, config in record.provisioned.items():
            alias, requested = record.aliases.get(qualifier), config.requested
            provisions[qualifier] = await self._shared(record, _shares(alias, qualifier, requested))
            if alias is not None and alias.is_moving:  # it goes on with what it had until this is ready
                number = alias.function_version
                provisions[number] = await self._shared(record, {number: requested})
        return provisions

    async def _shared(self, record: FunctionRecord, counts: Mapping[str, int]) -> Sequence[tuple[Target, int]]:
        shares: list[tuple[Target, int]] = []
        for number, count in counts.items():
            version = await self._published(record, int(number))
            if version is not None and version.state is State.ACTIVE and count:
                shares.append((_checked(record, version), count))
        return shares

    async def _look_up(self, function: FunctionArn) -> Target | _Split:
        changes = self._changes
        entry = await self._store.get(function_key(function.account, function.region, function.name))
        if entry is None:
            raise _not_found(function)
        record = decode_function(entry.value)
        target = await self._target(record, function)
        if changes == self._changes:  # else it may be stale already, and nobody would forget it again
            self._cache[function] = target
            self._by_function.setdefault(function.unqualified, set()).add(function)
        return target

    async def _target(self, record: FunctionRecord, function: FunctionArn) -> Target | _Split:
        qualifier = function.qualifier or LATEST
        if qualifier == LATEST:
            return _checked(record, serving(record))
        if qualifier == "$LATEST.PUBLISHED":
            raise NoPublishedVersion(f"No version of {function.unqualified} is published to $LATEST.PUBLISHED")
        alias = record.aliases.get(qualifier)
        if alias is not None:
            return await self._alias_target(record, alias, function)
        return await self._version_target(record, qualifier, function)

    async def _alias_target(self, record: FunctionRecord, alias: Alias, function: FunctionArn) -> Target | _Split:
        main = await self._version_target(record, alias.function_version, function)
        for number, weight in alias.additional_weights.items():
            return _Split(main, await self._version_target(record, number, function), weight)
        return main

    async def _version_target(self, record: FunctionRecord, version: str, function: FunctionArn) -> Target:
        if version == LATEST:
            return _checked(record, serving(record))
        published = await self._published(record, int(version)) if version.isascii() and version.isdigit() else None
        if published is None:
            raise _not_found(function)
        return _checked(record, published)

    async def _published(self, record: FunctionRecord, number: int) -> FunctionVersion | None:
        if number not in record.versions:
            return None
        latest = record.latest
        entry = await self._store.get(version_key(latest.account, latest.region, latest.name, number))
        return decode_version(entry.value) if entry else None


def serving(record: FunctionRecord) -> FunctionVersion:
    """What $LATEST runs now: while an update is in progress, still the configuration before it."""
    is_updating = record.latest.last_update_status is not UpdateStatus.SUCCESSFUL
    return record.serving if record.serving is not None and is_updating else record.latest


def pool_key(version: FunctionVersion) -> str:
    """A digest of all that an environment is made from."""
    made_from = (
        str(version.qualified_arn),
        version.code_blob,
        version.runtime,
        version.handler,
        version.role,
        version.timeout_s,
        version.memory_mib,
        version.ephemeral_storage_mib,
        sorted((version.environment or {}).items()),
        version.layers,
        version.logging,
        version.last_modified,
    )
    return hashlib.sha256(msgspec.json.encode(made_from)).hexdigest()


def _shares(alias: Alias | None, qualifier: str, count: int) -> Mapping[str, int]:
    """What is provisioned for each version that a qualifier stands for: an alias's weights part it as its invokes."""
    if alias is None:
        return {qualifier: count}
    additional = {number: round(count * weight) for number, weight in alias.additional_weights.items()}
    return {alias.function_version: count - sum(additional.values()), **additional}


def _checked(record: FunctionRecord, version: FunctionVersion) -> Target:
    if version.state is State.PENDING:
        raise ResourceConflict(
            "The operation cannot be performed at this time. The function is currently in the following state: Pending"
        )
    if version.state is State.FAILED:
        raise ResourceConflict(
            "The operation cannot be performed at this time. The function is currently in the following state: Failed"
        )
    may_loop = record.recursive_loop is RecursiveLoop.ALLOW
    return Target(version=version, pool_key=pool_key(version), may_loop=may_loop)


def _not_found(function: FunctionArn) -> ResourceNotFound:
    return ResourceNotFound(f"Function not found: {function.qualified(function.qualifier or LATEST)}")
