"""What callers ask about layers, typed."""

from __future__ import annotations

from lambent.control.requests import Members, PackageMembers


class LayerRequest(Members):
    """An operation on a layer; the name may be an ARN."""

    layer_name: str


class PublishLayerVersionRequest(LayerRequest, kw_only=True):
    content: PackageMembers
    description: str | None = None
    compatible_runtimes: tuple[str, ...] | None = None
    compatible_architectures: tuple[str, ...] | None = None
    license_info: str | None = None


class LayerVersionRequest(LayerRequest):
    version_number: int


class LayerVersionByArnRequest(Members):
    arn: str


class ListLayersRequest(Members):
    compatible_runtime: str | None = None
    compatible_architecture: str | None = None
    marker: str | None = None
    max_items: int | None = None


class ListLayerVersionsRequest(ListLayersRequest, kw_only=True):
    layer_name: str


class AddLayerVersionPermissionRequest(LayerVersionRequest):
    statement_id: str
    action: str
    principal: str
    revision_id: str | None = None


class RemoveLayerVersionPermissionRequest(LayerVersionRequest):
    statement_id: str
    revision_id: str | None = None
