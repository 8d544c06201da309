"""Functions: create, read, update, delete (reference/api.md §3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from lambent.control import answers, states, validation
from lambent.control.account import Account
from lambent.control.activation import Activations
from lambent.control.answers import Answer
from lambent.control.catalogue import Catalogue, Found, not_found
from lambent.control.code_signing import CodeSigning
from lambent.control.configuration import configured
from lambent.control.function_layers import FunctionLayers
from lambent.control.names import function_arn, new_function_arn, unqualified_arn
from lambent.control.operation import Operation, parsing
from lambent.control.packages import Package, Packages
from lambent.control.requests import (
    CreateFunctionRequest,
    QualifiedRequest,
    UpdateFunctionCodeRequest,
    UpdateFunctionConfigurationRequest,
)
from lambent.control.stamps import Stamps
from lambent.model.arn import LATEST, FunctionArn
from lambent.model.caller import CallerContext
from lambent.model.errors import InvalidParameterValue, ResourceConflict
from lambent.model.function import FunctionRecord, FunctionVersion
from lambent.ports.roles import Roles
from lambent.ports.snapshots import Snapshots


class Functions:
    """The operations on one function.

    `runtimes` are the identifiers of the service model; `architectures` those that this host runs, its own first.
    `presign` adds to a path the proof that lets its bearer read it. `runtime_warning` says what this host lacks to run
    a runtime, if it lacks anything.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        packages: Packages,
        account: Account,
        activations: Activations,
        layers: FunctionLayers,
        signing: CodeSigning,
        stamps: Stamps,
        *,
        roles: Roles,
        runtimes: Sequence[str],
        architectures: Sequence[str],
        presign: Callable[[str], str],
        runtime_warning: Callable[[str], str | None],
        snapshots: Snapshots | None,
    ) -> None:
        self._catalogue = catalogue
        self._packages = packages
        self._account = account
        self._activations = activations
        self._layers = layers
        self._signing = signing
        self._stamps = stamps
        self._roles = roles
        self._runtimes = runtimes
        self._architectures = architectures
        self._presign = presign
        self._runtime_warning = runtime_warning
        self._snapshots = snapshots

    @property
    def operations(self) -> Mapping[str, Operation]:
        return {
            "CreateFunction": parsing(CreateFunctionRequest, self.create_function),
            "GetFunction": parsing(QualifiedRequest, self.get_function),
            "GetFunctionConfiguration": parsing(QualifiedRequest, self.get_function_configuration),
            "UpdateFunctionCode": parsing(UpdateFunctionCodeRequest, self.update_function_code),
            "UpdateFunctionConfiguration": parsing(
                UpdateFunctionConfigurationRequest, self.update_function_configuration
            ),
            "DeleteFunction": parsing(QualifiedRequest, self.delete_function),
        }

    async def create_function(self, caller: CallerContext, request: CreateFunctionRequest) -> Answer:
        function = new_function_arn(caller, request.function_name)
        validation.check_new_function(request)
        validation.check_configuration(request, self._runtimes)
        validation.check_architectures(request.architectures, self._architectures)
        await self._require_absent(function)
        await self._roles.require_assumable(request.role, function)
        package = await self._packages.take(caller, request.code)
        async with self._packages.kept(caller, package), self._catalogue.changing:
            await self._require_absent(function)
            unsigned = await self._signing.require_trusted(caller, request.code_signing_config_arn)
            self._account.require_storage(caller, len(package.data) * (2 if request.publish else 1))
            latest = await self._layers.applied(self._new_version(function, request, package), caller, request.layers)
            validation.check_snap_start(latest, self._snapshots)
            record = FunctionRecord(
                latest=latest, tags=request.tags or {}, code_signing_config_arn=request.code_signing_config_arn or None
            )
            version = record.latest
            if request.publish:
                record, version = states.published(record, self._stamps.new_id())
                await self._catalogue.put_version(version)
            await self._catalogue.put(record)
        self._activations.begin(record)
        return answers.configuration(version) | answers.warned(self._lacking(request.runtime), unsigned)

    async def get_function(self, caller: CallerContext, request: QualifiedRequest) -> Answer:
        function = function_arn(caller, "GetFunction", request.function_name, request.qualifier)
        record = (await self._catalogue.find(function)).record
        version = await self._catalogue.version(record, function)
        path = f"/_lambent/code/{caller.account}/{version.code_blob}"
        reserved = record.reserved_concurrency
        return {
            "Configuration": answers.configuration(version, function),
            "Code": {"RepositoryType": "S3", "Location": caller.base_url + self._presign(path)},
            "Tags": dict(record.tags) or None,
            "Concurrency": None if reserved is None else {"ReservedConcurrentExecutions": reserved},
        }

    async def get_function_configuration(self, caller: CallerContext, request: QualifiedRequest) -> Answer:
        function = function_arn(caller, "GetFunctionConfiguration", request.function_name, request.qualifier)
        record = (await self._catalogue.find(function)).record
        return answers.configuration(await self._catalogue.version(record, function), function)

    async def update_function_code(self, caller: CallerContext, request: UpdateFunctionCodeRequest) -> Answer:
        function = unqualified_arn(caller, "UpdateFunctionCode", request.function_name)
        if request.image_uri:
            raise InvalidParameterValue("Please don't provide ImageUri when updating a function with packageType Zip.")
        validation.check_architectures(request.architectures, self._architectures)
        await self._updatable(function, request.revision_id)
        package = await self._packages.take(caller, request)
        async with self._packages.kept(caller, package), self._catalogue.changing:
            found = await self._updatable(function, request.revision_id)
            unsigned = await self._signing.require_trusted(caller, found.record.code_signing_config_arn)
            before = found.record.latest
            code = replace(
                self._with_code(before, package), architectures=request.architectures or before.architectures
            )
            self._layers.require_room(code)
            if request.dry_run:
                return answers.configuration(code)
            growth = len(package.data) - before.code_size_bytes
            self._account.require_storage(caller, growth + (len(package.data) if request.publish else 0))
            record, version = await self._updated(found, code, is_published=request.publish)
        self._activations.begin(record)
        return answers.configuration(version, version.qualified_arn if request.publish else None) | answers.warned(
            unsigned
        )

    async def update_function_configuration(
        self, caller: CallerContext, request: UpdateFunctionConfigurationRequest
    ) -> Answer:
        function = unqualified_arn(caller, "UpdateFunctionConfiguration", request.function_name)
        validation.check_configuration(request, self._runtimes)
        async with self._catalogue.changing:
            found = await self._updatable(function, request.revision_id)
            if request.role is not None:
                await self._roles.require_assumable(request.role, function)
            config_arn = found.record.code_signing_config_arn if request.layers else None
            unsigned = await self._signing.require_trusted(caller, config_arn)
            latest = await self._layers.applied(configured(found.record.latest, request), caller, request.layers)
            validation.check_snap_start(latest, self._snapshots)
            record, version = await self._updated(found, latest, is_published=False)
        self._activations.begin(record)
        return answers.configuration(version) | answers.warned(self._lacking(request.runtime), unsigned)

    async def delete_function(self, caller: CallerContext, request: QualifiedRequest) -> Answer:
        function = function_arn(caller, "DeleteFunction", request.function_name, request.qualifier)
        if function.qualifier == LATEST:
            raise InvalidParameterValue("$LATEST version cannot be deleted without deleting the function.")
        async with self._catalogue.changing:
            found = await self._catalogue.find(function)
            states.require_settled(found.record.latest, self._stamps.now())
            if function.qualifier is None:
                await self._catalogue.remove(found)
            else:
                await self._delete_version(found, function.qualifier)
        return {"StatusCode": 204}

    async def _require_absent(self, function: FunctionArn) -> None:
        if await self._catalogue.get(function) is not None:
            raise ResourceConflict(f"Function already exist: {function.name}")

    async def _updatable(self, function: FunctionArn, revision_id: str | None) -> Found:
        found = await self._catalogue.find(function)
        states.require_settled(found.record.latest, self._stamps.now())
        states.require_revision(found.record.latest.revision_id, revision_id)
        return found

    def _new_version(self, function: FunctionArn, request: CreateFunctionRequest, package: Package) -> FunctionVersion:
        version = FunctionVersion(
            account=function.account,
            region=function.region,
            name=function.name,
            role=request.role,
            runtime=request.runtime,
            handler=request.handler,
            architectures=request.architectures or tuple(self._architectures[:1]),
            code_blob=package.blob,
            code_sha256=package.sha256,
            code_size_bytes=len(package.data),
            code_unzipped_bytes=package.unzipped_bytes,
            last_modified=self._stamps.last_modified(),
            revision_id=self._stamps.new_id(),
        )
        return states.created(configured(version, request))

    def _with_code(self, version: FunctionVersion, package: Package) -> FunctionVersion:
        return replace(
            version,
            code_blob=package.blob,
            code_sha256=package.sha256,
            code_size_bytes=len(package.data),
            code_unzipped_bytes=package.unzipped_bytes,
        )

    async def _updated(
        self, found: Found, latest: FunctionVersion, *, is_published: bool
    ) -> tuple[FunctionRecord, FunctionVersion]:
        """Store a new configuration as an update in progress, perhaps with a version of it that is Pending as well."""
        stamped = replace(latest, last_modified=self._stamps.last_modified(), revision_id=self._stamps.new_id())
        record = states.updating(found.record, stamped)
        version = record.latest
        if is_published and (unchanged := states.unchanged_version(record)) is not None:
            version = await self._catalogue.published(record, unchanged) or version
        elif is_published:
            record, version = states.published(record, self._stamps.new_id())
            version = states.created(replace(version, last_update_status=None))
            await self._catalogue.put_version(version)
        await self._catalogue.put(record, found.revision)
        return record, version

    async def _delete_version(self, found: Found, qualifier: str) -> None:
        record, function = found.record, found.record.latest.arn
        if qualifier in record.aliases:
            raise InvalidParameterValue("Deletion of aliases is not currently supported.")
        if not (qualifier.isascii() and qualifier.isdigit()):
            raise not_found(function.qualified(qualifier))
        if qualifier not in map(str, record.versions):
            return
        referring = [
            name
            for name, alias in record.aliases.items()
            if qualifier == alias.function_version or qualifier in alias.additional_weights
        ]
        if referring:
            raise ResourceConflict(
                f"Unable to delete version because the following aliases reference it: [{', '.join(referring)}]"
            )
        kept = tuple(number for number in record.versions if str(number) != qualifier)
        await self._catalogue.put(states.without_qualifier(replace(record, versions=kept), qualifier), found.revision)
        await self._catalogue.remove_version(function, int(qualifier))

    def _lacking(self, runtime: str | None) -> str | None:
        return self._runtime_warning(runtime) if runtime else None
