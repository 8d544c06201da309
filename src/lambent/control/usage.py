"""The ledger: what every account uses in a region, and which packages are still named. Kept in memory, pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from lambent.model.function import FunctionRecord, FunctionVersion
from lambent.model.layer import LayerRecord

Scope = tuple[str, str]
"""Account and region."""


@dataclass(slots=True)
class Usage:
    functions: int = 0
    code_bytes: int = 0
    reserved_concurrency: int = 0
    provisioned_concurrency: int = 0
    """Of functions without a reservation: what is provisioned within one is reserved already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What one key of the store stands for. `packages` lists every package that must be kept for it."""

    scope: Scope
    functions: int = 0
    code_bytes: int = 0
    reserved_concurrency: int = 0
    provisioned_concurrency: int = 0
    packages: tuple[str, ...] = ()

    @classmethod
    def of_function(cls, record: FunctionRecord) -> Holding:
        latest, serving = record.latest, record.serving
        return cls(
            scope=(latest.account, latest.region),
            functions=1,
            code_bytes=latest.code_size_bytes,
            reserved_concurrency=record.reserved_concurrency or 0,
            provisioned_concurrency=_provisioned(record),
            packages=_packages(latest) if serving is None else (*_packages(latest), *_packages(serving)),
        )

    @classmethod
    def of_version(cls, version: FunctionVersion) -> Holding:
        return cls(
            scope=(version.account, version.region),
            code_bytes=version.code_size_bytes,
            packages=_packages(version),
        )

    @classmethod
    def of_layer(cls, record: LayerRecord) -> Holding:
        return cls(
            scope=(record.account, record.region),
            code_bytes=sum(version.code_size_bytes for version in record.versions),
            packages=tuple(version.code_blob for version in record.versions),
        )


class Ledger:
    """Follows every write of a record; answers quotas and finds the packages that nothing names any more."""

    def __init__(self) -> None:
        self._holdings: dict[str, Holding] = {}
        self._usage: dict[Scope, Usage] = {}
        self._named: Counter[str] = Counter()

    def note(self, key: str, holding: Holding | None) -> frozenset[str]:
        """Replace what `key` holds, and return the packages whose last mention this was."""
        before = self._holdings.pop(key, None)
        if holding is not None:
            self._holdings[key] = holding
            self._count(holding, 1)
        if before is None:
            return frozenset()
        self._count(before, -1)
        return frozenset(package for package in before.packages if not self.names(package))

    def names(self, package: str) -> bool:
        return self._named[package] > 0

    def usage(self, account: str, region: str) -> Usage:
        return self._usage.get((account, region), Usage())

    def _count(self, holding: Holding, sign: int) -> None:
        usage = self._usage.setdefault(holding.scope, Usage())
        usage.functions += sign * holding.functions
        usage.code_bytes += sign * holding.code_bytes
        usage.reserved_concurrency += sign * holding.reserved_concurrency
        usage.provisioned_concurrency += sign * holding.provisioned_concurrency
        _add(self._named, holding.packages, sign)
        if sign < 0 and usage == Usage():
            del self._usage[holding.scope]


def _provisioned(record: FunctionRecord) -> int:
    if record.reserved_concurrency is not None:
        return 0
    return sum(config.requested for config in record.provisioned.values())


def _packages(version: FunctionVersion) -> tuple[str, ...]:
    """A function keeps its layers' packages, so that it outlives the deletion of a layer's version."""
    return (version.code_blob, *(layer.code_blob for layer in version.layers))


def _add(named: Counter[str], packages: Iterable[str], sign: int) -> None:
    for package in packages:
        named[package] += sign
        if not named[package]:
            del named[package]
