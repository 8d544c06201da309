"""What callers ask of the control plane, typed: the members of AWS's requests that Lambent acts upon.

A member that is not here is refused by name as soon as it says something, so that no configuration is accepted and then
ignored, not even one that a later service model brings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from lambent.model.errors import InvalidParameterValue
from lambent.spec import members
from lambent.spec.members import Members as Members


class EnvironmentMembers(Members):
    variables: dict[str, str] | None = None


class EphemeralStorageMembers(Members):
    size: int


class TracingMembers(Members):
    mode: str | None = None


class DeadLetterMembers(Members):
    target_arn: str | None = None


class SnapStartMembers(Members):
    apply_on: str | None = None


class LoggingMembers(Members):
    log_format: str | None = None
    application_log_level: str | None = None
    system_log_level: str | None = None
    log_group: str | None = None


class RoutingMembers(Members):
    additional_version_weights: dict[str, float] | None = None


class PackageMembers(Members):
    """Where a zip comes from: the request itself, or an S3 object."""

    zip_file: bytes | None = None
    s3_bucket: str | None = None
    s3_key: str | None = None
    s3_object_version: str | None = None
    s3_object_storage_mode: str | None = None


class CodeMembers(PackageMembers):
    """Where the code comes from: exactly one of a zip, an S3 object and an image."""

    image_uri: str | None = None


class ConfigurationMembers(Members):
    """What CreateFunction and UpdateFunctionConfiguration have in common."""

    function_name: str
    role: str | None = None
    runtime: str | None = None
    handler: str | None = None
    description: str | None = None
    timeout: int | None = None
    memory_size: int | None = None
    environment: EnvironmentMembers | None = None
    ephemeral_storage: EphemeralStorageMembers | None = None
    tracing_config: TracingMembers | None = None
    dead_letter_config: DeadLetterMembers | None = None
    snap_start: SnapStartMembers | None = None
    logging_config: LoggingMembers | None = None
    layers: tuple[str, ...] | None = None


class CreateFunctionRequest(ConfigurationMembers, kw_only=True):
    role: str
    code: CodeMembers
    package_type: str | None = None
    architectures: tuple[str, ...] | None = None
    publish: bool = False
    tags: dict[str, str] | None = None
    code_signing_config_arn: str | None = None


class UpdateFunctionConfigurationRequest(ConfigurationMembers):
    revision_id: str | None = None


class UpdateFunctionCodeRequest(CodeMembers, kw_only=True):
    function_name: str
    architectures: tuple[str, ...] | None = None
    publish: bool = False
    dry_run: bool = False
    revision_id: str | None = None


class FunctionRequest(Members):
    """An operation on a function as a whole."""

    function_name: str


class QualifiedRequest(FunctionRequest):
    qualifier: str | None = None


class FunctionPageRequest(FunctionRequest):
    marker: str | None = None
    max_items: int | None = None


class ListFunctionsRequest(Members):
    master_region: str | None = None
    function_version: str | None = None
    marker: str | None = None
    max_items: int | None = None


class PublishVersionRequest(FunctionRequest):
    code_sha256: str | None = None
    description: str | None = None
    revision_id: str | None = None


class AliasRequest(FunctionRequest):
    name: str


class CreateAliasRequest(AliasRequest):
    function_version: str
    description: str | None = None
    routing_config: RoutingMembers | None = None


class UpdateAliasRequest(AliasRequest):
    function_version: str | None = None
    description: str | None = None
    routing_config: RoutingMembers | None = None
    revision_id: str | None = None


class ListAliasesRequest(FunctionPageRequest):
    function_version: str | None = None


class PutFunctionConcurrencyRequest(FunctionRequest):
    reserved_concurrent_executions: int


class PolicyRequest(QualifiedRequest):
    """An operation on the resource policy of a function, version or alias."""


class AddPermissionRequest(PolicyRequest, kw_only=True):
    statement_id: str
    action: str
    principal: str
    source_arn: str | None = None
    source_account: str | None = None
    event_source_token: str | None = None
    principal_org_id: str | None = msgspec.field(default=None, name="PrincipalOrgID")
    function_url_auth_type: str | None = None
    invoked_via_function_url: bool | None = None
    revision_id: str | None = None


class RemovePermissionRequest(PolicyRequest, kw_only=True):
    statement_id: str
    revision_id: str | None = None


class ResourcePolicyRequest(Members):
    resource_arn: str


class PutResourcePolicyRequest(ResourcePolicyRequest, kw_only=True):
    policy: str
    revision_id: str | None = None


class DeleteResourcePolicyRequest(ResourcePolicyRequest):
    revision_id: str | None = None


class TaggedRequest(Members):
    resource: str


class TagResourceRequest(TaggedRequest):
    tags: dict[str, str]


class UntagResourceRequest(TaggedRequest):
    tag_keys: tuple[str, ...]


class NoRequest(Members):
    """An operation without parameters."""


Request = TypeVar("Request", bound=Members)


def parse(kind: type[Request], parameters: Mapping[str, object]) -> Request:
    """Type the members of a request that the service model has already checked.

    Raises:
        InvalidParameterValue: a member asks for something that Lambent does not do.
    """
    return members.parse(kind, parameters, unsupported)


def unsupported(parameter: str) -> InvalidParameterValue:
    return InvalidParameterValue(
        f"Lambent does not support {parameter} yet: remove it from the request. See docs/compatibility.md"
    )
