"""The functions and versions that exist, in the store; every change of them goes through here, one at a time.

A published version is written before the function record that names it and removed after; what a killed process left
between the two is removed on loading.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from lambent.control import states
from lambent.control.packages import Packages
from lambent.control.usage import Holding, Ledger
from lambent.model.arn import LATEST, FunctionArn
from lambent.model.errors import ResourceConflict, ResourceNotFound
from lambent.model.function import FunctionRecord, FunctionVersion, State, function_key, version_key
from lambent.model.records import decode_function, decode_version, encode
from lambent.ports.store import ABSENT, Entry, Revision, RevisionMismatch, Store

_SCAN = 500
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class Found:
    """A function record with the revision that its next write must expect."""

    record: FunctionRecord
    revision: Revision


class Catalogue:
    def __init__(self, store: Store, ledger: Ledger, packages: Packages) -> None:
        self._store = store
        self._ledger = ledger
        self._packages = packages
        self.changing = asyncio.Lock()
        """Held from reading a record to writing it: quotas span records, so changes take turns."""
        self.unfinished: Sequence[FunctionVersion] = ()
        """Versions that were Pending on their own when they were loaded."""

        self._under_way: list[FunctionRecord] = []
        self._named: set[str] = set()

    def begin(self, record: FunctionRecord) -> None:
        """Count a function that was there before into the ledger. All of them come before `load`."""
        function = record.latest.arn
        self._ledger.note(_key(function), Holding.of_function(record))
        self._named.update(_version_key(function, number) for number in record.versions)
        if states.is_under_way(record):
            self._under_way.append(record)

    async def load(self) -> Sequence[FunctionRecord]:
        """Count the versions into the ledger and return the functions that an earlier process has not made ready.

        `unfinished` is known from then on.
        """
        under_way, named = self._under_way, self._named
        self._under_way, self._named = [], set()
        resumed = {record.latest.arn for record in under_way}
        unfinished = []
        async for entry in self._entries("version/"):
            if entry.key in named:
                version = decode_version(entry.value)
                self._ledger.note(entry.key, Holding.of_version(version))
                if version.state is State.PENDING and version.arn not in resumed:
                    unfinished.append(version)
            else:
                await self._store.delete(entry.key)
        self.unfinished = unfinished
        return under_way

    async def get(self, function: FunctionArn) -> Found | None:
        entry = await self._store.get(_key(function))
        return Found(decode_function(entry.value), entry.revision) if entry else None

    async def find(self, function: FunctionArn) -> Found:
        """The function that an ARN, qualified or not, is about.

        Raises:
            ResourceNotFound: there is none.
        """
        found = await self.get(function)
        if found is None:
            raise not_found(function)
        return found

    async def version(self, record: FunctionRecord, function: FunctionArn) -> FunctionVersion:
        """What the ARN's qualifier stands for: `$LATEST`, a number, or an alias and so its main version.

        Raises:
            ResourceNotFound: the function has no such version or alias.
        """
        qualifier = function.qualifier or LATEST
        alias = record.aliases.get(qualifier)
        number = alias.function_version if alias else qualifier
        if number == LATEST:
            return record.latest
        published = await self.published(record, int(number)) if is_number(number) else None
        if published is None:
            raise not_found(function)
        return published

    async def published(self, record: FunctionRecord, number: int) -> FunctionVersion | None:
        if number not in record.versions:
            return None
        entry = await self._store.get(_version_key(record.latest.arn, number))
        return decode_version(entry.value) if entry else None

    async def page(self, account: str, region: str, *, after: str, limit: int) -> Sequence[FunctionRecord]:
        """Functions of an account and region by name, behind the name `after`."""
        last = function_key(account, region, after) if after else ""
        entries = await self._store.scan(function_key(account, region, ""), after=last, limit=limit)
        return [decode_function(entry.value) for entry in entries]

    async def put(self, record: FunctionRecord, expected: Revision = ABSENT) -> None:
        """Write a record that was read at `expected`, or a new one.

        Raises:
            ResourceConflict: another process was there first.
        """
        key = _key(record.latest.arn)
        try:
            await self._store.put(key, encode(record), expected=expected)
        except RevisionMismatch as error:
            raise ResourceConflict(
                f"The operation cannot be performed at this time. {record.latest.arn} was changed by another request."
            ) from error
        await self._packages.collect(self._ledger.note(key, Holding.of_function(record)))

    async def put_version(self, version: FunctionVersion) -> None:
        key = _version_key(version.arn, int(version.version))
        await self._store.put(key, encode(version))
        await self._packages.collect(self._ledger.note(key, Holding.of_version(version)))

    async def remove(self, found: Found) -> None:
        """Forget a function with everything that is part of it."""
        function = found.record.latest.arn
        await self._store.delete(_key(function), expected=found.revision)
        await self._packages.collect(self._ledger.note(_key(function), None))
        for number in found.record.versions:
            await self.remove_version(function, number)

    async def remove_version(self, function: FunctionArn, number: int) -> None:
        """Forget a version that its function record has ceased to name."""
        key = _version_key(function, number)
        await self._store.delete(key)
        await self._packages.collect(self._ledger.note(key, None))

    async def _entries(self, prefix: str) -> AsyncIterator[Entry]:
        after = ""
        while page := await self._store.scan(prefix, after=after, limit=_SCAN):
            for entry in page:
                yield entry
            after = page[-1].key


def is_number(qualifier: str) -> bool:
    """Whether it can be a version's number, written as AWS writes it."""
    return _NUMBER.fullmatch(qualifier) is not None


def not_found(function: FunctionArn) -> ResourceNotFound:
    return ResourceNotFound(f"Function not found: {function}")


def _key(function: FunctionArn) -> str:
    return function_key(function.account, function.region, function.name)


def _version_key(function: FunctionArn, number: int) -> str:
    return version_key(function.account, function.region, function.name, number)
