"""When a version's runtime may change: PutRuntimeManagementConfig, GetRuntimeManagementConfig (reference/api.md §8).

A runtime is the host's interpreter and has one version at a time: the one that the host has. Whoever runs the host
updates it, for all functions at once; so `Manual` takes that version only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lambent.control.answers import Answer
from lambent.control.catalogue import Catalogue
from lambent.control.names import function_arn
from lambent.control.operation import Operation, parsing
from lambent.control.requests import QualifiedRequest
from lambent.model.arn import LATEST, FunctionArn
from lambent.model.caller import CallerContext
from lambent.model.errors import InvalidParameterValue
from lambent.model.function import FunctionVersion, RuntimeManagement, UpdateRuntimeOn
from lambent.model.runtime import runtime_version_arn


class PutRuntimeManagementRequest(QualifiedRequest, kw_only=True):
    update_runtime_on: UpdateRuntimeOn
    runtime_version_arn: str | None = None


class RuntimeManagements:
    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    @property
    def operations(self) -> Mapping[str, Operation]:
        return {
            "PutRuntimeManagementConfig": parsing(PutRuntimeManagementRequest, self.put_runtime_management_config),
            "GetRuntimeManagementConfig": parsing(QualifiedRequest, self.get_runtime_management_config),
        }

    async def put_runtime_management_config(
        self, caller: CallerContext, request: PutRuntimeManagementRequest
    ) -> Answer:
        function = _named(caller, "PutRuntimeManagementConfig", request)
        async with self._catalogue.changing:
            found = await self._catalogue.find(function)
            version = await self._catalogue.version(found.record, function)
            _check(request, version)
            management = RuntimeManagement(
                update_on=request.update_runtime_on, runtime_version_arn=request.runtime_version_arn
            )
            managements = {**found.record.runtime_managements, version.version: management}
            await self._catalogue.put(replace(found.record, runtime_managements=managements), found.revision)
        return _answer(function, management)

    async def get_runtime_management_config(self, caller: CallerContext, request: QualifiedRequest) -> Answer:
        function = _named(caller, "GetRuntimeManagementConfig", request)
        record = (await self._catalogue.find(function)).record
        version = await self._catalogue.version(record, function)
        return _answer(function, record.runtime_managements.get(version.version, RuntimeManagement()))


def _named(caller: CallerContext, operation: str, request: QualifiedRequest) -> FunctionArn:
    function = function_arn(caller, operation, request.function_name, request.qualifier)
    return function.qualified(function.qualifier or LATEST)


def _check(request: PutRuntimeManagementRequest, version: FunctionVersion) -> None:
    arn = request.runtime_version_arn
    if request.update_runtime_on is not UpdateRuntimeOn.MANUAL:
        if arn is not None:
            raise InvalidParameterValue("RuntimeVersionArn goes with UpdateRuntimeOn Manual only.")
        return
    if arn is None:
        raise InvalidParameterValue("UpdateRuntimeOn Manual needs a RuntimeVersionArn.")
    if arn != runtime_version_arn(version.runtime, version.region):
        raise InvalidParameterValue(
            f"The runtime version {arn} is not on this host. {version.runtime} has the version "
            f"{runtime_version_arn(version.runtime, version.region)}."
        )


def _answer(function: FunctionArn, management: RuntimeManagement) -> Answer:
    return {
        "UpdateRuntimeOn": management.update_on,
        "RuntimeVersionArn": management.runtime_version_arn,
        "FunctionArn": str(function),
    }
