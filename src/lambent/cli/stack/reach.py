"""How functions are reached: AWS::Lambda::Url, Permission, EventSourceMapping and EventInvokeConfig."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any  # Any: what templates and botocore hold

from lambent.cli.stack.intrinsics import Made
from lambent.cli.stack.stack import LATEST, STACK_TAG, Applied, Kind, Stack, found, qualified, split_function, typed


def _apply_url(stack: Stack, logical_id: str, wanted: dict[str, Any]) -> Applied:
    client, (name, qualifier) = stack.aws_lambda, split_function(wanted["TargetFunctionArn"])
    wanted = typed(client, "CreateFunctionUrlConfig", wanted)
    target = qualified({"FunctionName": name}, wanted.get("Qualifier") or qualifier)
    members = {
        "AuthType": wanted["AuthType"],
        "Cors": wanted.get("Cors", {}),
        "InvokeMode": wanted.get("InvokeMode", "BUFFERED"),
    }
    stack.function(name).parts.add(("url", target.get("Qualifier", LATEST)))
    existing = found(client.get_function_url_config, **target)
    if existing is None:
        outcome, url = "created", client.create_function_url_config(**target, **members)
    elif all(existing.get(member, {}) == value for member, value in members.items()):
        outcome, url = "unchanged", existing
    else:
        outcome, url = "updated", client.update_function_url_config(**target, **members)
    attributes = {"FunctionArn": url["FunctionArn"], "FunctionUrl": url["FunctionUrl"]}
    return Applied(outcome=outcome, made=Made(ref=url["FunctionArn"], attributes=attributes))


def _apply_permission(stack: Stack, logical_id: str, wanted: dict[str, Any]) -> Applied:
    """The statement's id tells what it says: another permission has another id, and takes the place of the old one."""
    client, (name, qualifier) = stack.aws_lambda, split_function(wanted["FunctionName"])
    members = typed(client, "AddPermission", {name: value for name, value in wanted.items() if name != "FunctionName"})
    digest = hashlib.sha256(json.dumps(members, sort_keys=True).encode()).hexdigest()[:8]
    sid = f"{statement_prefix(stack)}{logical_id[:60]}-{digest}"
    target = qualified({"FunctionName": name}, qualifier)
    stack.function(name).statements.add((qualifier or LATEST, sid))
    existing = found(client.get_policy, **target)
    sids = [one["Sid"] for one in json.loads(existing["Policy"])["Statement"]] if existing else []
    if sid in sids:
        return Applied(outcome="unchanged", made=Made(ref=sid))
    client.add_permission(**target, StatementId=sid, **members)
    return Applied(outcome="created", made=Made(ref=sid))


def statement_prefix(stack: Stack) -> str:
    """How the ids of a stack's statements begin."""
    return f"{hashlib.sha256(stack.name.encode()).hexdigest()[:8]}-"


def _apply_mapping(stack: Stack, logical_id: str, wanted: dict[str, Any]) -> Applied:
    client = stack.aws_lambda
    own: dict[str, Any] = {}
    renamed = {_MAPPING_MEMBERS.get(name, name): value for name, value in wanted.items() if name != "Tags"}
    members, tags = typed(client, "CreateEventSourceMapping", renamed), stack.tagged(wanted)
    if (source := members.get("SelfManagedEventSource")) and "KafkaBootstrapServers" in source.get("Endpoints", {}):
        members["SelfManagedEventSource"] = {
            "Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": source["Endpoints"]["KafkaBootstrapServers"]}
        }
    for one in _mappings(stack, members):
        tagged = client.list_tags(Resource=one["EventSourceMappingArn"])["Tags"]
        own = one if tagged.get(STACK_TAG) == stack.name else own
    if not own:
        outcome, mapping = "created", client.create_event_source_mapping(**members, Tags=tags)
    elif changed := {name: value for name, value in members.items() if _can_change(name) and not _is(own, name, value)}:
        outcome, mapping = "updated", client.update_event_source_mapping(UUID=own["UUID"], **changed)
    else:
        outcome, mapping = "unchanged", own
    stack.mappings.add(mapping["UUID"])
    attributes = {"EventSourceMappingArn": mapping.get("EventSourceMappingArn", ""), "Id": mapping["UUID"]}
    return Applied(outcome=outcome, made=Made(ref=mapping["UUID"], attributes=attributes))


def _mappings(stack: Stack, members: Mapping[str, Any]) -> list[Any]:
    """The mappings of the function from the same source."""
    source = {"EventSourceArn": members["EventSourceArn"]} if "EventSourceArn" in members else {}
    pages = stack.aws_lambda.get_paginator("list_event_source_mappings").paginate(
        FunctionName=members["FunctionName"], **source
    )
    return [mapping for page in pages for mapping in page["EventSourceMappings"]]


def _can_change(member: str) -> bool:
    return member not in _FIXED_MEMBERS


def _is(mapping: Mapping[str, Any], member: str, value: Any) -> bool:
    if member == "FunctionName":
        return split_function(mapping["FunctionArn"]) == split_function(value)
    if member == "Enabled":
        return (mapping["State"] in ("Enabled", "Enabling", "Creating")) is bool(value)
    return bool(mapping.get(member) == value)


def _apply_invoke_config(stack: Stack, logical_id: str, wanted: dict[str, Any]) -> Applied:
    client, (name, _) = stack.aws_lambda, split_function(wanted["FunctionName"])
    qualifier = None if wanted["Qualifier"] == "$LATEST" else wanted["Qualifier"]
    target = qualified({"FunctionName": name}, qualifier)
    members = {
        member: value for member, value in wanted.items() if member not in ("FunctionName", "Qualifier") and value != {}
    }
    members = typed(client, "PutFunctionEventInvokeConfig", members)
    stack.function(name).parts.add(("invoke", qualifier or LATEST))
    existing = found(client.get_function_event_invoke_config, **target)
    is_same = existing is not None and all(
        (existing.get(member) or None) == members.get(member) for member in _INVOKE_MEMBERS
    )
    if not is_same:
        client.put_function_event_invoke_config(**target, **members)
    outcome = "unchanged" if is_same else "created" if existing is None else "updated"
    return Applied(outcome=outcome, made=Made(ref=f"{name}|{wanted['Qualifier']}"))


_MAPPING_MEMBERS = {"KmsKeyArn": "KMSKeyArn"}
"""Where CloudFormation's name is not Lambda's."""
_FIXED_MEMBERS = frozenset((
    "AmazonManagedKafkaEventSourceConfig", "EventSourceArn", "Queues", "SelfManagedEventSource",
    "SelfManagedKafkaEventSourceConfig", "StartingPosition", "StartingPositionTimestamp", "Topics",
))  # fmt: skip
_INVOKE_MEMBERS = ("DestinationConfig", "MaximumEventAgeInSeconds", "MaximumRetryAttempts")

KINDS: Mapping[str, Kind] = {
    "AWS::Lambda::Url": Kind(("AuthType", "Cors", "InvokeMode", "Qualifier", "TargetFunctionArn"), _apply_url),
    "AWS::Lambda::Permission": Kind(
        (
            "Action",
            "EventSourceToken",
            "FunctionName",
            "FunctionUrlAuthType",
            "InvokedViaFunctionUrl",
            "Principal",
            "PrincipalOrgID",
            "SourceAccount",
            "SourceArn",
        ),
        _apply_permission,
    ),
    "AWS::Lambda::EventSourceMapping": Kind(
        (
            *_FIXED_MEMBERS,
            "BatchSize",
            "BisectBatchOnFunctionError",
            "DestinationConfig",
            "DocumentDBEventSourceConfig",
            "Enabled",
            "FilterCriteria",
            "FunctionName",
            "FunctionResponseTypes",
            "KmsKeyArn",
            "MaximumBatchingWindowInSeconds",
            "MaximumRecordAgeInSeconds",
            "MaximumRetryAttempts",
            "MetricsConfig",
            "ParallelizationFactor",
            "ProvisionedPollerConfig",
            "ScalingConfig",
            "SourceAccessConfigurations",
            "Tags",
            "TumblingWindowInSeconds",
        ),
        _apply_mapping,
    ),
    "AWS::Lambda::EventInvokeConfig": Kind((*_INVOKE_MEMBERS, "FunctionName", "Qualifier"), _apply_invoke_config),
}
