"""The control plane joined together: every operation that is built, by AWS's name."""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self  # Any: parameters are of whatever type the service model gives them

from lambent.control import (
    code_signing,
    code_signing_configs,
    event_invoke,
    event_source_requests,
    function_urls,
    layer_requests,
    recursion,
    requests,
    runtime_management,
)
from lambent.control.account import Account
from lambent.control.activation import Activate, Activations
from lambent.control.aliases import Aliases
from lambent.control.answers import Answer
from lambent.control.catalogue import Catalogue
from lambent.control.code_signing import CodeSigning
from lambent.control.code_signing_configs import CodeSigningConfigs
from lambent.control.concurrency import Concurrency
from lambent.control.event_invoke import EventInvokeConfigs
from lambent.control.event_source_mappings import EventSourceMappings
from lambent.control.function_layers import FunctionLayers
from lambent.control.function_urls import FunctionUrls
from lambent.control.functions import Functions
from lambent.control.layer_catalogue import LayerCatalogue
from lambent.control.layer_permissions import LayerPermissions
from lambent.control.layers import Layers
from lambent.control.listing import Listing
from lambent.control.mapping_catalogue import MappingCatalogue
from lambent.control.mapping_tags import MappingTags
from lambent.control.packages import Packages
from lambent.control.permissions import Permissions
from lambent.control.policies import Policies
from lambent.control.provisioned import (
    AllocationOf,
    ListProvisionedConcurrencyConfigsRequest,
    ProvisionedConcurrencyConfigs,
    PutProvisionedConcurrencyConfigRequest,
)
from lambent.control.recursion import Recursion
from lambent.control.requests import Request
from lambent.control.resource_policies import ResourcePolicies
from lambent.control.runtime_management import RuntimeManagements
from lambent.control.signing_catalogue import SigningCatalogue
from lambent.control.stamps import Stamps
from lambent.control.tags import FunctionTags, Tags
from lambent.control.usage import Ledger
from lambent.control.versions import Versions
from lambent.model import limits
from lambent.model.caller import CallerContext
from lambent.model.provisioned import Allocation
from lambent.ports.blobs import Blobs
from lambent.ports.code_source import CodeSource
from lambent.ports.event_sources import EventSources
from lambent.ports.roles import Roles
from lambent.ports.store import Store

Operation = Callable[[CallerContext, dict[str, Any]], Awaitable[Answer]]


class Control:
    """What should exist. Entering it counts what the store holds and resumes what an earlier process began.

    `activate` makes a version's code ready to run, in the background of each create and update; for the other
    callables see `Functions`. `allocation` says how far provisioned concurrency has come.
    """

    def __init__(
        self,
        *,
        store: Store,
        blobs: Blobs,
        code_source: CodeSource,
        event_sources: EventSources,
        roles: Roles,
        activate: Activate,
        presign: Callable[[str], str],
        runtimes: Sequence[str],
        runtime_warning: Callable[[str], str | None],
        architectures: Sequence[str] = ("x86_64",),
        concurrency: int = limits.ACCOUNT_CONCURRENCY,
        code_storage_bytes: int = limits.CODE_STORAGE_BYTES,
        allocation: AllocationOf = lambda function: Allocation(),
        now: Callable[[], float] = time.time,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        stamps, ledger = Stamps(now=now, new_id=new_id), Ledger()
        packages = Packages(blobs, code_source, ledger)
        account = Account(ledger, concurrency=concurrency, code_storage_bytes=code_storage_bytes)
        self._catalogue = Catalogue(store, ledger, packages)
        self._layers = LayerCatalogue(store, ledger, packages, self._catalogue.changing)
        self._activations = Activations(self._catalogue, activate, stamps)
        self._mappings = MappingCatalogue(store)
        signings = SigningCatalogue(store)
        signing = CodeSigning(self._catalogue, signings)
        signing_configs = CodeSigningConfigs(self._catalogue, signings, stamps)
        functions = Functions(
            self._catalogue,
            packages,
            account,
            self._activations,
            FunctionLayers(self._layers),
            signing,
            stamps,
            roles=roles,
            runtimes=runtimes,
            architectures=architectures,
            presign=presign,
            runtime_warning=runtime_warning,
        )
        self.operations: Mapping[str, Operation] = {
            **_of_functions(functions, Listing(self._catalogue)),
            **_of_versions(Versions(self._catalogue, account, stamps), Aliases(self._catalogue, stamps)),
            **_of_layers(
                Layers(self._layers, packages, account, stamps, presign=presign),
                LayerPermissions(self._layers, stamps),
            ),
            **_of_account(account, Concurrency(self._catalogue, account)),
            **_of_provisioned(ProvisionedConcurrencyConfigs(self._catalogue, account, stamps, allocation)),
            **_of_event_invokes(EventInvokeConfigs(self._catalogue, stamps), Recursion(self._catalogue)),
            **_of_event_sources(EventSourceMappings(self._catalogue, self._mappings, event_sources, stamps)),
            **_of_code_signing(signing, signing_configs),
            **_of_runtime_management(RuntimeManagements(self._catalogue)),
            **_of_urls(FunctionUrls(self._catalogue, stamps)),
            **_of_policies(Policies(self._catalogue, stamps)),
            **_of_tags(
                Tags(
                    {
                        "function": FunctionTags(self._catalogue),
                        "event-source-mapping": MappingTags(self._mappings),
                        "code-signing-config": signing_configs,
                    }
                )
            ),
        }

    async def __aenter__(self) -> Self:
        await self._layers.load()
        under_way = await self._catalogue.load()
        await self._activations.__aenter__()
        for record in under_way:
            self._activations.begin(record)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._activations.__aexit__(kind, error, traceback)


def _of_functions(functions: Functions, listing: Listing) -> Mapping[str, Operation]:
    return {
        "CreateFunction": _parsing(requests.CreateFunctionRequest, functions.create_function),
        "GetFunction": _parsing(requests.QualifiedRequest, functions.get_function),
        "GetFunctionConfiguration": _parsing(requests.QualifiedRequest, functions.get_function_configuration),
        "ListFunctions": _parsing(requests.ListFunctionsRequest, listing.list_functions),
        "UpdateFunctionCode": _parsing(requests.UpdateFunctionCodeRequest, functions.update_function_code),
        "UpdateFunctionConfiguration": _parsing(
            requests.UpdateFunctionConfigurationRequest, functions.update_function_configuration
        ),
        "DeleteFunction": _parsing(requests.QualifiedRequest, functions.delete_function),
    }


def _of_versions(versions: Versions, aliases: Aliases) -> Mapping[str, Operation]:
    return {
        "PublishVersion": _parsing(requests.PublishVersionRequest, versions.publish_version),
        "ListVersionsByFunction": _parsing(requests.ListVersionsRequest, versions.list_versions_by_function),
        "CreateAlias": _parsing(requests.CreateAliasRequest, aliases.create_alias),
        "GetAlias": _parsing(requests.AliasRequest, aliases.get_alias),
        "ListAliases": _parsing(requests.ListAliasesRequest, aliases.list_aliases),
        "UpdateAlias": _parsing(requests.UpdateAliasRequest, aliases.update_alias),
        "DeleteAlias": _parsing(requests.AliasRequest, aliases.delete_alias),
    }


def _of_layers(layers: Layers, permissions: LayerPermissions) -> Mapping[str, Operation]:
    return {
        "PublishLayerVersion": _parsing(layer_requests.PublishLayerVersionRequest, layers.publish_layer_version),
        "GetLayerVersion": _parsing(layer_requests.LayerVersionRequest, layers.get_layer_version),
        "GetLayerVersionByArn": _parsing(layer_requests.LayerVersionByArnRequest, layers.get_layer_version_by_arn),
        "ListLayers": _parsing(layer_requests.ListLayersRequest, layers.list_layers),
        "ListLayerVersions": _parsing(layer_requests.ListLayerVersionsRequest, layers.list_layer_versions),
        "DeleteLayerVersion": _parsing(layer_requests.LayerVersionRequest, layers.delete_layer_version),
        "AddLayerVersionPermission": _parsing(
            layer_requests.AddLayerVersionPermissionRequest, permissions.add_layer_version_permission
        ),
        "GetLayerVersionPolicy": _parsing(layer_requests.LayerVersionRequest, permissions.get_layer_version_policy),
        "RemoveLayerVersionPermission": _parsing(
            layer_requests.RemoveLayerVersionPermissionRequest, permissions.remove_layer_version_permission
        ),
    }


def _of_account(account: Account, concurrency: Concurrency) -> Mapping[str, Operation]:
    return {
        "GetAccountSettings": _parsing(requests.NoRequest, account.get_account_settings),
        "PutFunctionConcurrency": _parsing(
            requests.PutFunctionConcurrencyRequest, concurrency.put_function_concurrency
        ),
        "GetFunctionConcurrency": _parsing(requests.FunctionRequest, concurrency.get_function_concurrency),
        "DeleteFunctionConcurrency": _parsing(requests.FunctionRequest, concurrency.delete_function_concurrency),
    }


def _of_provisioned(configs: ProvisionedConcurrencyConfigs) -> Mapping[str, Operation]:
    put, several = PutProvisionedConcurrencyConfigRequest, ListProvisionedConcurrencyConfigsRequest
    return {
        "PutProvisionedConcurrencyConfig": _parsing(put, configs.put_provisioned_concurrency_config),
        "GetProvisionedConcurrencyConfig": _parsing(
            requests.QualifiedRequest, configs.get_provisioned_concurrency_config
        ),
        "ListProvisionedConcurrencyConfigs": _parsing(several, configs.list_provisioned_concurrency_configs),
        "DeleteProvisionedConcurrencyConfig": _parsing(
            requests.QualifiedRequest, configs.delete_provisioned_concurrency_config
        ),
    }


def _of_event_invokes(configs: EventInvokeConfigs, recursive: Recursion) -> Mapping[str, Operation]:
    config = event_invoke.EventInvokeConfigRequest
    return {
        "PutFunctionEventInvokeConfig": _parsing(config, configs.put_function_event_invoke_config),
        "UpdateFunctionEventInvokeConfig": _parsing(config, configs.update_function_event_invoke_config),
        "GetFunctionEventInvokeConfig": _parsing(requests.QualifiedRequest, configs.get_function_event_invoke_config),
        "DeleteFunctionEventInvokeConfig": _parsing(
            requests.QualifiedRequest, configs.delete_function_event_invoke_config
        ),
        "ListFunctionEventInvokeConfigs": _parsing(
            event_invoke.ListEventInvokeConfigsRequest, configs.list_function_event_invoke_configs
        ),
        "PutFunctionRecursionConfig": _parsing(
            recursion.PutRecursionConfigRequest, recursive.put_function_recursion_config
        ),
        "GetFunctionRecursionConfig": _parsing(requests.FunctionRequest, recursive.get_function_recursion_config),
    }


def _of_event_sources(mappings: EventSourceMappings) -> Mapping[str, Operation]:
    create, update = (
        event_source_requests.CreateEventSourceMappingRequest,
        event_source_requests.UpdateEventSourceMappingRequest,
    )
    one, several = event_source_requests.MappingRequest, event_source_requests.ListMappingsRequest
    return {
        "CreateEventSourceMapping": _parsing(create, mappings.create_event_source_mapping),
        "GetEventSourceMapping": _parsing(one, mappings.get_event_source_mapping),
        "ListEventSourceMappings": _parsing(several, mappings.list_event_source_mappings),
        "UpdateEventSourceMapping": _parsing(update, mappings.update_event_source_mapping),
        "DeleteEventSourceMapping": _parsing(one, mappings.delete_event_source_mapping),
    }


def _of_code_signing(signing: CodeSigning, configs: CodeSigningConfigs) -> Mapping[str, Operation]:
    create, update = (
        code_signing_configs.CreateCodeSigningConfigRequest,
        code_signing_configs.UpdateCodeSigningConfigRequest,
    )
    one, put = code_signing_configs.CodeSigningConfigRequest, code_signing.PutFunctionCodeSigningRequest
    return {
        "CreateCodeSigningConfig": _parsing(create, configs.create_code_signing_config),
        "GetCodeSigningConfig": _parsing(one, configs.get_code_signing_config),
        "UpdateCodeSigningConfig": _parsing(update, configs.update_code_signing_config),
        "DeleteCodeSigningConfig": _parsing(one, configs.delete_code_signing_config),
        "ListCodeSigningConfigs": _parsing(
            code_signing_configs.ListCodeSigningConfigsRequest, configs.list_code_signing_configs
        ),
        "ListFunctionsByCodeSigningConfig": _parsing(
            code_signing_configs.ListFunctionsByConfigRequest, configs.list_functions_by_code_signing_config
        ),
        "PutFunctionCodeSigningConfig": _parsing(put, signing.put_function_code_signing_config),
        "GetFunctionCodeSigningConfig": _parsing(requests.FunctionRequest, signing.get_function_code_signing_config),
        "DeleteFunctionCodeSigningConfig": _parsing(
            requests.FunctionRequest, signing.delete_function_code_signing_config
        ),
    }


def _of_runtime_management(managements: RuntimeManagements) -> Mapping[str, Operation]:
    return {
        "PutRuntimeManagementConfig": _parsing(
            runtime_management.PutRuntimeManagementRequest, managements.put_runtime_management_config
        ),
        "GetRuntimeManagementConfig": _parsing(requests.QualifiedRequest, managements.get_runtime_management_config),
    }


def _of_urls(urls: FunctionUrls) -> Mapping[str, Operation]:
    return {
        "CreateFunctionUrlConfig": _parsing(
            function_urls.CreateFunctionUrlConfigRequest, urls.create_function_url_config
        ),
        "GetFunctionUrlConfig": _parsing(requests.QualifiedRequest, urls.get_function_url_config),
        "UpdateFunctionUrlConfig": _parsing(
            function_urls.UpdateFunctionUrlConfigRequest, urls.update_function_url_config
        ),
        "DeleteFunctionUrlConfig": _parsing(requests.QualifiedRequest, urls.delete_function_url_config),
        "ListFunctionUrlConfigs": _parsing(function_urls.ListFunctionUrlConfigsRequest, urls.list_function_url_configs),
    }


def _of_policies(policies: Policies) -> Mapping[str, Operation]:
    permissions, documents = Permissions(policies), ResourcePolicies(policies)
    return {
        "AddPermission": _parsing(requests.AddPermissionRequest, permissions.add_permission),
        "RemovePermission": _parsing(requests.RemovePermissionRequest, permissions.remove_permission),
        "GetPolicy": _parsing(requests.PolicyRequest, permissions.get_policy),
        "PutResourcePolicy": _parsing(requests.PutResourcePolicyRequest, documents.put_resource_policy),
        "GetResourcePolicy": _parsing(requests.ResourcePolicyRequest, documents.get_resource_policy),
        "DeleteResourcePolicy": _parsing(requests.DeleteResourcePolicyRequest, documents.delete_resource_policy),
    }


def _of_tags(tags: Tags) -> Mapping[str, Operation]:
    return {
        "TagResource": _parsing(requests.TagResourceRequest, tags.tag_resource),
        "UntagResource": _parsing(requests.UntagResourceRequest, tags.untag_resource),
        "ListTags": _parsing(requests.TaggedRequest, tags.list_tags),
    }


def _parsing(kind: type[Request], handler: Callable[[CallerContext, Request], Awaitable[Answer]]) -> Operation:
    """The border: members of AWS's names come in, a typed request goes on."""

    async def operation(caller: CallerContext, members: dict[str, Any]) -> Answer:
        return await handler(caller, requests.parse(kind, members))

    return operation
