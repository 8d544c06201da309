"""Provisioned concurrency configs of versions and aliases (reference/concurrency-scaling.md §3)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from lambent.control import states
from lambent.control.account import Account
from lambent.control.answers import PAGE_MAXIMUM, Answer
from lambent.control.catalogue import Catalogue, is_number, not_found
from lambent.control.names import function_arn, unqualified_arn
from lambent.control.operation import Operation, parsing
from lambent.control.paging import page
from lambent.control.requests import FunctionPageRequest, QualifiedRequest
from lambent.control.stamps import Stamps
from lambent.model.arn import LATEST, FunctionArn
from lambent.model.caller import CallerContext
from lambent.model.errors import ApiError, InvalidParameterValue, ResourceConflict, ResourceNotFound
from lambent.model.function import Alias, FunctionRecord
from lambent.model.provisioned import Allocation, ProvisionedConcurrency

_UNPUBLISHED = "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
_SNAP_START = "ProvisionedConcurrency is not supported for SnapStart enabled functions."
_NOT_QUALIFIED = "The function resource provided must be an alias or a published version."

AllocationOf = Callable[[FunctionArn], Allocation]
"""How far the provisioned concurrency of a qualified function has come."""


class ProvisionedConcurrencyConfigNotFound(ApiError):
    code, status = "ProvisionedConcurrencyConfigNotFoundException", 404


class PutProvisionedConcurrencyConfigRequest(QualifiedRequest, kw_only=True):
    provisioned_concurrent_executions: int


class ProvisionedConcurrencyConfigs:
    def __init__(self, catalogue: Catalogue, account: Account, stamps: Stamps, allocation: AllocationOf) -> None:
        self._catalogue = catalogue
        self._account = account
        self._stamps = stamps
        self._allocation = allocation

    @property
    def operations(self) -> Mapping[str, Operation]:
        return {
            "PutProvisionedConcurrencyConfig": parsing(
                PutProvisionedConcurrencyConfigRequest, self.put_provisioned_concurrency_config
            ),
            "GetProvisionedConcurrencyConfig": parsing(QualifiedRequest, self.get_provisioned_concurrency_config),
            "ListProvisionedConcurrencyConfigs": parsing(
                FunctionPageRequest, self.list_provisioned_concurrency_configs
            ),
            "DeleteProvisionedConcurrencyConfig": parsing(QualifiedRequest, self.delete_provisioned_concurrency_config),
        }

    async def put_provisioned_concurrency_config(
        self, caller: CallerContext, request: PutProvisionedConcurrencyConfigRequest
    ) -> Answer:
        function = _named(caller, "PutProvisionedConcurrencyConfig", request, otherwise=_UNPUBLISHED)
        qualifier, requested = str(function.qualifier), request.provisioned_concurrent_executions
        async with self._catalogue.changing:
            found = await self._catalogue.find(function.unqualified)
            record = found.record
            versions = versions_of(record, function)
            require_free_versions(record, qualifier, versions)
            await require_own_init(self._catalogue, record, versions)
            if (alias := record.aliases.get(qualifier)) is not None and alias.additional_weights:
                raise InvalidParameterValue("Alias with weights can not be used with Provisioned Concurrency")
            self._require_room(caller, record, qualifier, requested)
            config = ProvisionedConcurrency(requested=requested, last_modified=self._stamps.whole_second())
            configs = {**record.provisioned, qualifier: config}
            await self._catalogue.put(replace(record, provisioned=configs), found.revision)
        return _answer(config, Allocation())

    async def get_provisioned_concurrency_config(self, caller: CallerContext, request: QualifiedRequest) -> Answer:
        function = _named(caller, "GetProvisionedConcurrencyConfig", request, otherwise=_NOT_QUALIFIED)
        record = (await self._catalogue.find(function.unqualified)).record
        versions_of(record, function)
        config = record.provisioned.get(str(function.qualifier))
        if config is None:
            raise ProvisionedConcurrencyConfigNotFound("No Provisioned Concurrency Config found for this function")
        return _answer(config, allocation_of(self._allocation, record, function))

    async def list_provisioned_concurrency_configs(self, caller: CallerContext, request: FunctionPageRequest) -> Answer:
        function = unqualified_arn(caller, "ListProvisionedConcurrencyConfigs", request.function_name)
        record = (await self._catalogue.find(function)).record
        configs = record.provisioned
        names, next_marker = page(configs, request.marker, request.max_items or PAGE_MAXIMUM)
        listed = [
            {"FunctionArn": str(arn), **_answer(configs[name], allocation_of(self._allocation, record, arn))}
            for name, arn in ((name, function.qualified(name)) for name in names)
        ]
        return {"ProvisionedConcurrencyConfigs": listed, "NextMarker": next_marker}

    async def delete_provisioned_concurrency_config(self, caller: CallerContext, request: QualifiedRequest) -> Answer:
        """A config that is not there is no error."""
        function = _named(caller, "DeleteProvisionedConcurrencyConfig", request, otherwise=_NOT_QUALIFIED)
        async with self._catalogue.changing:
            found = await self._catalogue.find(function.unqualified)
            versions_of(found.record, function)
            kept = {name: config for name, config in found.record.provisioned.items() if name != function.qualifier}
            aliases = {**found.record.aliases}
            if (alias := aliases.get(str(function.qualifier))) is not None and alias.is_moving:
                aliases[alias.name] = moved(alias, self._stamps.new_id())
            await self._catalogue.put(replace(found.record, provisioned=kept, aliases=aliases), found.revision)
        return {}

    def _require_room(self, caller: CallerContext, record: FunctionRecord, qualifier: str, requested: int) -> None:
        before = record.provisioned.get(qualifier)
        added = requested - (before.requested if before else 0)
        if record.reserved_concurrency is None:
            self._account.require_provisionable(caller, requested, added)
        elif provisioned_sum(record) + added > record.reserved_concurrency:
            raise InvalidParameterValue(
                "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for "
                "function"
            )


def allocation_of(allocation: AllocationOf, record: FunctionRecord, function: FunctionArn) -> Allocation:
    """How far what is provisioned has come; of an alias that is moving, in the version that it moves to."""
    alias = record.aliases.get(str(function.qualifier))
    if alias is not None and alias.is_moving:
        return allocation(function.unqualified.qualified(alias.function_version))
    return allocation(function)


def provisioned_sum(record: FunctionRecord) -> int:
    return sum(config.requested for config in record.provisioned.values())


def versions_of(record: FunctionRecord, function: FunctionArn) -> Collection[str]:
    """The published versions that a qualifier stands for: one, or an alias's two.

    Raises:
        ResourceNotFound: the function has no such version or alias.
        InvalidParameterValue: an alias of $LATEST.
    """
    qualifier = str(function.qualifier)
    if is_number(qualifier):
        if int(qualifier) not in record.versions:
            raise not_found(function)
        return (qualifier,)
    alias = record.aliases.get(qualifier)
    if alias is None:
        raise ResourceNotFound(f"Cannot find alias arn: {function}")
    if alias.function_version == LATEST:
        raise InvalidParameterValue(_UNPUBLISHED)
    return _versions(alias)


def require_free_versions(record: FunctionRecord, qualifier: str, versions: Collection[str]) -> None:
    """A version is provisioned under one name.

    Raises:
        ResourceConflict: one of the versions already is, under another.
    """
    for other in record.provisioned.keys() - {qualifier}:
        if other in versions:
            raise ResourceConflict(
                "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
            )
        alias = record.aliases.get(other)
        if alias is not None and not set(_versions(alias)).isdisjoint(versions):
            raise ResourceConflict("Version is pointed by a Provisioned Concurrency alias")


def moved(alias: Alias, revision_id: str) -> Alias:
    """An alias that has ceased to move: all of its invokes are its version's."""
    return replace(alias, additional_weights={}, is_moving=False, revision_id=revision_id)


async def require_own_init(catalogue: Catalogue, record: FunctionRecord, versions: Collection[str]) -> None:
    """What starts from a snapshot is not provisioned.

    Raises:
        InvalidParameterValue: one of the versions has SnapStart.
    """
    for number in versions:
        version = await catalogue.published(record, int(number))
        if version is not None and states.takes_snapshot(version):
            raise InvalidParameterValue(_SNAP_START)


def _versions(alias: Alias) -> Collection[str]:
    return (alias.function_version, *alias.additional_weights)


def _named(caller: CallerContext, operation: str, request: QualifiedRequest, *, otherwise: str) -> FunctionArn:
    """The version or alias that is meant; `otherwise` is what is said of a function without one."""
    function = function_arn(caller, operation, request.function_name, request.qualifier)
    if function.qualifier in (None, LATEST):
        raise InvalidParameterValue(otherwise)
    return function


def _answer(config: ProvisionedConcurrency, allocation: Allocation) -> Answer:
    status = allocation.status(config.requested)
    return {
        "RequestedProvisionedConcurrentExecutions": config.requested,
        "AvailableProvisionedConcurrentExecutions": min(allocation.available, config.requested),
        "AllocatedProvisionedConcurrentExecutions": min(allocation.allocated, config.requested),
        "Status": status,
        "StatusReason": allocation.failure if status == "FAILED" else None,
        "LastModified": config.last_modified,
    }
