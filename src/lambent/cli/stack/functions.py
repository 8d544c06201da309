"""AWS::Lambda::Function, Version, Alias and LayerVersion."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any  # Any: what templates and botocore hold

from lambent.cli.stack.intrinsics import Made
from lambent.cli.stack.provisioned import provision
from lambent.cli.stack.stack import PART_TAGS, WAIT, Applied, Function, Kind, Stack, found, split_function, typed
from lambent.cli.stack.template import LOCAL_BUCKET, inline_package

_CONFIGURATION: Mapping[str, Any] = {
    "Description": "",
    "Environment": {},
    "EphemeralStorage": {"Size": 512},
    "Handler": None,
    "KMSKeyArn": "",
    "Layers": [],
    "LoggingConfig": {"LogFormat": "Text"},
    "MemorySize": 128,
    "Role": None,
    "Runtime": None,
    "SnapStart": {"ApplyOn": "None"},
    "Timeout": 3,
    "TracingConfig": {"Mode": "PassThrough"},
    "DeadLetterConfig": {},
}
"""Members of a configuration, with what they are where a template says nothing; None: it must."""
_AT_CREATION = ("Architectures", "PackageType")
_OTHER = ("Code", "FunctionName", "RecursiveLoop", "ReservedConcurrentExecutions", "Tags", "KmsKeyArn")


def _apply_function(stack: Stack, logical_id: str, wanted: dict[str, Any]) -> Applied:
    name = wanted.get("FunctionName") or stack.physical_name(logical_id)
    if "KmsKeyArn" in wanted:
        wanted["KMSKeyArn"] = wanted["KmsKeyArn"]
    wanted, tags = typed(stack.aws_lambda, "CreateFunction", wanted), stack.tagged(wanted)
    code = _code(stack, wanted["Code"], str(wanted.get("Runtime", "")))
    existing = found(stack.aws_lambda.get_function, FunctionName=name)
    if existing is None:
        outcome = _create(stack, name, wanted, code, tags)
    else:
        stack.require_own("function", name, existing.get("Tags", {}))
        outcome = _update(stack, existing, wanted, code, tags)
    outcome = _settings(stack, name, wanted, outcome)
    arn = stack.aws_lambda.get_function_configuration(FunctionName=name)["FunctionArn"]
    return Applied(outcome=outcome, made=Made(ref=name, attributes={"Arn": arn}))


def _code(stack: Stack, code: Any, runtime: str) -> dict[str, Any]:
    if "ZipFile" in code:
        return {"ZipFile": inline_package(code["ZipFile"], runtime)}
    if code.get("S3Bucket") == LOCAL_BUCKET:
        return {"ZipFile": stack.packages[code["S3Key"]]}
    return dict(code)


def _create(stack: Stack, name: str, wanted: dict[str, Any], code: dict[str, Any], tags: dict[str, str]) -> str:
    members = {member: wanted[member] for member in (*_CONFIGURATION, *_AT_CREATION) if member in wanted}
    stack.aws_lambda.create_function(FunctionName=name, Code=code, Tags=tags, **members)
    stack.aws_lambda.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig=WAIT)
    stack.functions[name] = Function(tags=tags)
    return "created"


def _update(stack: Stack, existing: Any, wanted: dict[str, Any], code: dict[str, Any], tags: dict[str, str]) -> str:
    client, actual, tags_before = stack.aws_lambda, existing["Configuration"], existing.get("Tags", {})
    name, arn = actual["FunctionName"], actual["FunctionArn"]
    layers = [layer["Arn"] for layer in actual.get("Layers", ())]
    stack.functions[name] = Function(tags=tags_before)
    stack.layers_before |= set(layers)
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig=WAIT)
    outcome = "unchanged"
    if not _is_same_package(code, actual["CodeSha256"]):
        sent = client.update_function_code(FunctionName=name, **code)
        client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=WAIT)
        outcome = "updated" if sent["CodeSha256"] != actual["CodeSha256"] else outcome
    if changed := _changed(wanted, {**actual, "Layers": layers}):
        client.update_function_configuration(FunctionName=name, **changed)
        client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=WAIT)
        outcome = "updated"
    if tags.items() - tags_before.items():
        client.tag_resource(Resource=arn, Tags=tags)
        outcome = "updated"
    if gone := [key for key in tags_before if key not in tags and key not in PART_TAGS.values()]:
        client.untag_resource(Resource=arn, TagKeys=gone)
        outcome = "updated"
    return outcome


def _is_same_package(code: Mapping[str, Any], sha256: str) -> bool:
    """Whether it is known that nothing has to be sent: what lies in S3 only the server can tell."""
    return "ZipFile" in code and base64.b64encode(hashlib.sha256(code["ZipFile"]).digest()).decode() == sha256


def _changed(wanted: Mapping[str, Any], actual: Mapping[str, Any]) -> dict[str, Any]:
    """The members of the configuration that must be sent."""
    complete = {
        member: wanted.get(member, default)
        for member, default in _CONFIGURATION.items()
        if member in wanted or default is not None
    }
    return {member: value for member, value in complete.items() if not _holds(actual.get(member), value)}


def _holds(actual: Any, wanted: Any) -> bool:
    """Whether what is there is what is wanted; AWS adds members to structures, and leaves empty values out."""
    if not wanted:
        return not actual
    if isinstance(wanted, Mapping) and isinstance(actual or {}, Mapping) and wanted.keys() != {"Variables"}:
        return all(_holds((actual or {}).get(member), value) for member, value in wanted.items())
    return bool(actual == wanted)


def _settings(stack: Stack, name: str, wanted: Mapping[str, Any], outcome: str) -> str:
    """What is part of a function for CloudFormation, and an operation of its own for Lambda."""
    client = stack.aws_lambda
    reserved = int(wanted["ReservedConcurrentExecutions"]) if "ReservedConcurrentExecutions" in wanted else None
    before = client.get_function_concurrency(FunctionName=name).get("ReservedConcurrentExecutions")
    if reserved is not None and reserved != before:
        client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=reserved)
    elif reserved is None and before is not None:
        client.delete_function_concurrency(FunctionName=name)
    if "RecursiveLoop" in wanted:
        client.put_function_recursion_config(FunctionName=name, RecursiveLoop=wanted["RecursiveLoop"])
    return "updated" if outcome == "unchanged" and reserved != before else outcome


def _apply_version(stack: Stack, logical_id: str, wanted: dict[str, Any]) -> Applied:
    """Published where the function has changed since its last version, as PublishVersion itself decides."""
    client, (name, _) = stack.aws_lambda, split_function(wanted["FunctionName"])
    pages = client.get_paginator("list_versions_by_function").paginate(FunctionName=name)
    before = {version["Version"] for page in pages for version in page["Versions"]}
    description = {"Description": wanted["Description"]} if "Description" in wanted else {}
    version = client.publish_version(FunctionName=name, **description)
    client.get_waiter("published_version_active").wait(
        FunctionName=name, Qualifier=version["Version"], WaiterConfig=WAIT
    )
    return Applied(
        outcome="unchanged" if version["Version"] in before else "created",
        made=Made(ref=version["FunctionArn"], attributes={"Version": version["Version"]}),
    )


def _apply_alias(stack: Stack, logical_id: str, wanted: dict[str, Any]) -> Applied:
    client, (name, _) = stack.aws_lambda, split_function(wanted["FunctionName"])
    members = {
        "FunctionVersion": wanted["FunctionVersion"],
        "Description": wanted.get("Description", ""),
        "RoutingConfig": _routing(wanted),
    }
    stack.function(name).parts.add(("alias", wanted["Name"]))
    existing = found(client.get_alias, FunctionName=name, Name=wanted["Name"])
    if existing is None:
        outcome, alias = "created", client.create_alias(FunctionName=name, Name=wanted["Name"], **members)
    elif all(_holds(existing.get(member), value) for member, value in members.items()):
        outcome, alias = "unchanged", existing
    else:
        if "RoutingConfig" not in existing and not members["RoutingConfig"]["AdditionalVersionWeights"]:
            del members["RoutingConfig"]  # so that it moves when what is provisioned is ready
        outcome, alias = "updated", client.update_alias(FunctionName=name, Name=wanted["Name"], **members)
    provisioned = wanted.get("ProvisionedConcurrencyConfig", {})
    is_change = provision(client, {"FunctionName": name, "Qualifier": wanted["Name"]}, provisioned)
    made = Made(ref=alias["AliasArn"])
    return Applied(outcome="updated" if outcome == "unchanged" and is_change else outcome, made=made)


def _routing(wanted: Mapping[str, Any]) -> Mapping[str, Any]:
    weights = wanted.get("RoutingConfig", {}).get("AdditionalVersionWeights", ())
    return {"AdditionalVersionWeights": {one["FunctionVersion"]: float(one["FunctionWeight"]) for one in weights}}


def _apply_layer(stack: Stack, logical_id: str, wanted: dict[str, Any]) -> Applied:
    """A new version, unless the newest one is the same."""
    client, name = stack.aws_lambda, wanted.get("LayerName") or stack.physical_name(logical_id)
    members = {member: wanted[member] for member in _LAYER_MEMBERS if wanted.get(member)}
    content = _code(stack, wanted["Content"], "")
    newest = next(iter(client.list_layer_versions(LayerName=name, MaxItems=1)["LayerVersions"]), None)
    if newest is not None and all(newest.get(member) == value for member, value in members.items()):
        before = client.get_layer_version(LayerName=name, VersionNumber=newest["Version"])
        if _is_same_package(content, before["Content"]["CodeSha256"]):
            return Applied(outcome="unchanged", made=_made_layer(stack, before))
    published = client.publish_layer_version(LayerName=name, Content=content, **members)
    return Applied(outcome="created" if newest is None else "updated", made=_made_layer(stack, published))


def _made_layer(stack: Stack, version: Mapping[str, Any]) -> Made:
    stack.layers[version["LayerArn"]] = version["LayerVersionArn"]
    return Made(ref=version["LayerVersionArn"], attributes={"LayerVersionArn": version["LayerVersionArn"]})


_LAYER_MEMBERS = ("CompatibleArchitectures", "CompatibleRuntimes", "Description", "LicenseInfo")

KINDS: Mapping[str, Kind] = {
    "AWS::Lambda::Function": Kind((*_CONFIGURATION, *_AT_CREATION, *_OTHER), _apply_function),
    "AWS::Lambda::Version": Kind(("Description", "FunctionName"), _apply_version),
    "AWS::Lambda::Alias": Kind(
        ("Description", "FunctionName", "FunctionVersion", "Name", "ProvisionedConcurrencyConfig", "RoutingConfig"),
        _apply_alias,
    ),
    "AWS::Lambda::LayerVersion": Kind((*_LAYER_MEMBERS, "Content", "LayerName"), _apply_layer),
}
