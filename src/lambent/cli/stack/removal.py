"""What a stack has made and its template names no longer: found by tags, and removed."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any  # Any: what botocore parsed

from lambent.cli.stack.reach import statement_prefix
from lambent.cli.stack.roles import remove_role
from lambent.cli.stack.stack import LATEST, PART_TAGS, STACK_TAG, Function, Stack, found, qualified


def remove_parts(stack: Stack) -> Iterator[tuple[str, str]]:
    """Of the functions that stay: permissions, URLs, event invoke configs and aliases; and note what there is now.

    Yields what was removed: its type and name.
    """
    for name, function in stack.functions.items():
        for kind, qualifier in sorted(function.parts_before - function.parts, reverse=True):  # aliases last
            _remove_part(stack, name, kind, qualifier)
            yield kind, f"{name}:{qualifier}"
        for qualifier in {LATEST} | {one for _, one in function.parts | function.parts_before}:
            yield from _remove_statements(stack, name, function, qualifier)
        if STACK_TAG in function.tags:
            _note_parts(stack, name, function)


def remove_mappings(stack: Stack) -> Iterator[tuple[str, str]]:
    """Those of the stack that are not in its template, of whichever function."""
    client = stack.aws_lambda
    for page in client.get_paginator("list_event_source_mappings").paginate():
        for mapping in page["EventSourceMappings"]:
            if mapping["UUID"] not in stack.mappings and _is_own(stack, mapping["EventSourceMappingArn"]):
                client.delete_event_source_mapping(UUID=mapping["UUID"])
                yield "event source mapping", mapping["UUID"]


def remove_functions(stack: Stack) -> Iterator[tuple[str, str]]:
    """Whole functions, with all that is part of them."""
    client = stack.aws_lambda
    for page in client.get_paginator("list_functions").paginate():
        for one in page["Functions"]:
            name = one["FunctionName"]
            if name not in stack.functions and _is_own(stack, one["FunctionArn"]):
                stack.layers_before |= {layer["Arn"] for layer in one.get("Layers", ())}
                client.delete_function(FunctionName=name)
                yield "function", name


def remove_roles(stack: Stack) -> Iterator[tuple[str, str]]:
    for page in stack.iam.get_paginator("list_roles").paginate():
        for role in page["Roles"]:
            name = role["RoleName"]
            if name in stack.roles:
                continue
            tags = {tag["Key"]: tag["Value"] for tag in stack.iam.list_role_tags(RoleName=name)["Tags"]}
            if tags.get(STACK_TAG) == stack.name:
                remove_role(stack, name)
                yield "role", name


def remove_layers(stack: Stack, layers: Collection[str]) -> Iterator[tuple[str, str]]:
    """Versions of the named layers that functions of the stack have used and use no more."""
    for arn in sorted(stack.layers_before - set(stack.layers.values())):
        layer, _, number = arn.rpartition(":")
        if layer.rpartition(":")[2] in layers:
            stack.aws_lambda.delete_layer_version(LayerName=layer, VersionNumber=int(number))
            yield "layer version", arn


def _remove_part(stack: Stack, name: str, kind: str, qualifier: str) -> None:
    client = stack.aws_lambda
    target = qualified({"FunctionName": name}, None if qualifier == LATEST else qualifier)
    match kind:
        case "alias":
            client.delete_alias(FunctionName=name, Name=qualifier)
        case "url" if found(client.get_function_url_config, **target):
            client.delete_function_url_config(**target)
        case "invoke" if found(client.get_function_event_invoke_config, **target):
            client.delete_function_event_invoke_config(**target)


def _remove_statements(stack: Stack, name: str, function: Function, qualifier: str) -> Iterator[tuple[str, str]]:
    client = stack.aws_lambda
    target = qualified({"FunctionName": name}, None if qualifier == LATEST else qualifier)
    policy = found(client.get_policy, **target)
    for statement in json.loads(policy["Policy"])["Statement"] if policy else ():
        sid = str(statement["Sid"])
        if sid.startswith(statement_prefix(stack)) and (qualifier, sid) not in function.statements:
            client.remove_permission(**target, StatementId=sid)
            yield "permission", f"{name}:{qualifier}:{sid}"


def _note_parts(stack: Stack, name: str, function: Function) -> None:
    """Write the tags that tell the next deployment what this one has made."""
    arn = stack.aws_lambda.get_function_configuration(FunctionName=name)["FunctionArn"]
    now = {
        tag: " ".join(sorted(one for part, one in function.parts if part == kind)) for kind, tag in PART_TAGS.items()
    }
    before: Mapping[str, Any] = function.tags
    if changed := {tag: value for tag, value in now.items() if value and before.get(tag) != value}:
        stack.aws_lambda.tag_resource(Resource=arn, Tags=changed)
    if gone := [tag for tag, value in now.items() if not value and tag in before]:
        stack.aws_lambda.untag_resource(Resource=arn, TagKeys=gone)


def _is_own(stack: Stack, arn: str) -> bool:
    return bool(stack.aws_lambda.list_tags(Resource=arn)["Tags"].get(STACK_TAG) == stack.name)
