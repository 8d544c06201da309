"""Layers: publish, get, list, delete (reference/api.md §6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from lambent.control import answers
from lambent.control.account import Account
from lambent.control.answers import Answer
from lambent.control.layer_catalogue import LayerCatalogue, absent, layer_arn, own_layer_arn, require_readable
from lambent.control.layer_requests import (
    LayerVersionByArnRequest,
    LayerVersionRequest,
    ListLayersRequest,
    ListLayerVersionsRequest,
    PublishLayerVersionRequest,
)
from lambent.control.operation import Operation, parsing
from lambent.control.packages import Package, Packages
from lambent.control.stamps import Stamps
from lambent.model.caller import CallerContext
from lambent.model.layer import LayerArn, LayerVersion, parse_layer_arn


class Layers:
    """`presign` adds to a path the proof that lets its bearer read it."""

    def __init__(
        self,
        catalogue: LayerCatalogue,
        packages: Packages,
        account: Account,
        stamps: Stamps,
        *,
        presign: Callable[[str], str],
    ) -> None:
        self._catalogue = catalogue
        self._packages = packages
        self._account = account
        self._stamps = stamps
        self._presign = presign

    @property
    def operations(self) -> Mapping[str, Operation]:
        return {
            "PublishLayerVersion": parsing(PublishLayerVersionRequest, self.publish_layer_version),
            "GetLayerVersion": parsing(LayerVersionRequest, self.get_layer_version),
            "GetLayerVersionByArn": parsing(LayerVersionByArnRequest, self.get_layer_version_by_arn),
            "ListLayers": parsing(ListLayersRequest, self.list_layers),
            "ListLayerVersions": parsing(ListLayerVersionsRequest, self.list_layer_versions),
            "DeleteLayerVersion": parsing(LayerVersionRequest, self.delete_layer_version),
        }

    async def publish_layer_version(self, caller: CallerContext, request: PublishLayerVersionRequest) -> Answer:
        layer = own_layer_arn(caller, "PublishLayerVersion", request.layer_name)
        package = await self._packages.take(caller, request.content)
        async with self._packages.kept(caller, package), self._catalogue.changing:
            self._account.require_storage(caller, len(package.data))
            found = await self._catalogue.get(layer)
            record = found.record
            version = self._new_version(record.next_version, request, package)
            published = replace(record, next_version=record.next_version + 1, versions=(*record.versions, version))
            await self._catalogue.put(published, found.revision)
        return self._whole(caller, layer.versioned(version.number), version)

    async def get_layer_version(self, caller: CallerContext, request: LayerVersionRequest) -> Answer:
        return await self._get(caller, layer_arn(caller, request.layer_name, request.version_number))

    async def get_layer_version_by_arn(self, caller: CallerContext, request: LayerVersionByArnRequest) -> Answer:
        layer = parse_layer_arn(request.arn)
        if layer is None:
            raise absent()
        return await self._get(caller, layer_arn(caller, str(layer.unversioned), layer.version or 0))

    async def list_layers(self, caller: CallerContext, request: ListLayersRequest) -> Answer:
        """Each layer with its newest version that matches; layers without one are left out."""
        size = min(request.max_items or answers.PAGE_MAXIMUM, answers.PAGE_MAXIMUM)
        page: list[Answer] = []
        marker = None
        after = answers.read_marker(request.marker)
        async for record in self._catalogue.all(caller.account, caller.region, after=after):
            newest = next((one for one in reversed(record.versions) if _matches(one, request)), None)
            if newest is None:
                continue
            if len(page) == size:
                marker = answers.marker(str(page[-1]["LayerName"]))
                break
            item = _listed(record.arn.versioned(newest.number), newest)
            page.append({"LayerName": record.name, "LayerArn": str(record.arn), "LatestMatchingVersion": item})
        return {"Layers": page, "NextMarker": marker}

    async def list_layer_versions(self, caller: CallerContext, request: ListLayerVersionsRequest) -> Answer:
        """Newest first."""
        layer = own_layer_arn(caller, "ListLayerVersions", request.layer_name)
        record = (await self._catalogue.get(layer)).record
        size = min(request.max_items or answers.PAGE_MAXIMUM, answers.PAGE_MAXIMUM)
        below = answers.read_number_marker(request.marker) or record.next_version
        matching = [one for one in reversed(record.versions) if one.number < below and _matches(one, request)]
        page = matching[:size]
        return {
            "LayerVersions": [_listed(layer.versioned(version.number), version) for version in page],
            "NextMarker": answers.marker(str(page[-1].number)) if len(matching) > size else None,
        }

    async def delete_layer_version(self, caller: CallerContext, request: LayerVersionRequest) -> Answer:
        """Functions that use it keep it. A version that is not there is no error."""
        layer = own_layer_arn(caller, "DeleteLayerVersion", request.layer_name, request.version_number)
        async with self._catalogue.changing:
            found = await self._catalogue.get(layer)
            kept = tuple(version for version in found.record.versions if version.number != layer.version)
            if kept != found.record.versions:
                await self._catalogue.put(replace(found.record, versions=kept), found.revision)
        return {}

    async def _get(self, caller: CallerContext, layer: LayerArn) -> Answer:
        version = await self._catalogue.version(layer)
        require_readable(caller, layer, version)
        if version is None:
            raise absent()
        return self._whole(caller, layer, version)

    def _new_version(self, number: int, request: PublishLayerVersionRequest, package: Package) -> LayerVersion:
        return LayerVersion(
            number=number,
            description=request.description or "",
            license_info=request.license_info,
            compatible_runtimes=request.compatible_runtimes or (),
            compatible_architectures=request.compatible_architectures or (),
            created_date=self._stamps.last_modified(),
            code_blob=package.blob,
            code_sha256=package.sha256,
            code_size_bytes=len(package.data),
            unzipped_bytes=package.unzipped_bytes,
        )

    def _whole(self, caller: CallerContext, layer: LayerArn, version: LayerVersion) -> Answer:
        path = f"/_lambent/code/{layer.account}/{version.code_blob}"
        return {
            **_listed(layer, version),
            "LayerArn": str(layer.unversioned),
            "Content": {
                "Location": caller.base_url + self._presign(path),
                "CodeSha256": version.code_sha256,
                "CodeSize": version.code_size_bytes,
            },
        }


def _matches(version: LayerVersion, request: ListLayersRequest) -> bool:
    """A version that names no architecture is for x86_64, as on AWS; one that names no runtime is listed for none."""
    runtime, architecture = request.compatible_runtime, request.compatible_architecture
    if runtime is not None and runtime not in version.compatible_runtimes:
        return False
    return architecture is None or architecture in (version.compatible_architectures or ("x86_64",))


def _listed(layer: LayerArn, version: LayerVersion) -> Answer:
    return {
        "LayerVersionArn": str(layer),
        "Version": version.number,
        "Description": version.description,
        "CreatedDate": version.created_date,
        "CompatibleRuntimes": list(version.compatible_runtimes) or None,
        "CompatibleArchitectures": list(version.compatible_architectures) or None,
        "LicenseInfo": version.license_info,
    }
