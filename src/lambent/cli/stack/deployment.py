"""A stack deployed, changed or removed, from its template to what is shown of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any  # Any: what templates hold

from lambent.cli.connection import DEFAULT_REGION, Server
from lambent.cli.failure import Failure, explain
from lambent.cli.output import messages, new_table, print_json, print_table
from lambent.cli.stack import functions, reach, removal, roles
from lambent.cli.stack.intrinsics import Scope
from lambent.cli.stack.parameters import parameter_values
from lambent.cli.stack.stack import Applied, Kind, Stack
from lambent.cli.stack.support import in_order, refused_in_resources, refused_in_template, require_supported
from lambent.cli.stack.template import Template, read_template, translate

KINDS: Mapping[str, Kind] = {**functions.KINDS, **reach.KINDS, **roles.KINDS}


@dataclass(slots=True)
class Report:
    """What became of a stack. A row is a logical id (or none), a type, a name and an outcome."""

    stack: str
    rows: list[tuple[str, str, str, str]] = field(default_factory=list)
    outputs: dict[str, str] = field(default_factory=dict)


def deploy_stack(server: Server, path: Path, name: str, given: Mapping[str, str]) -> None:
    """Make the stack what the template says, and show what that took.

    Raises:
        Failure: something of the template cannot be deployed; then nothing was done.
    """
    template, values = _read(server, path, name, given)
    scope = Scope(template.cloudformation, values)
    resources = _wanted(template, scope)
    require_supported(refused_in_resources(resources, {kind: one.properties for kind, one in KINDS.items()}))
    stack, report = Stack(server, name, template.packages), Report(name)
    say = messages()
    for logical_id in in_order(resources):
        resource = resources[logical_id]
        applied = _apply(stack, scope, logical_id, resource)
        scope.made[logical_id] = applied.made
        report.rows.append((logical_id, resource["Type"], applied.made.ref, applied.outcome))
        if not server.as_json and applied.outcome != "unchanged":
            say.print(f"{applied.outcome} {logical_id}", markup=False)
    report.rows += _removed(stack, _layers_to_delete(template, scope))
    report.outputs = _outputs(template, scope)
    _show(server, report)


def _apply(stack: Stack, scope: Scope, logical_id: str, resource: Mapping[str, Any]) -> Applied:
    from botocore.exceptions import BotoCoreError, ClientError

    wanted = scope.resolve(resource.get("Properties", {}))
    try:
        return KINDS[resource["Type"]].apply(stack, logical_id, wanted)
    except (BotoCoreError, ClientError) as exc:
        failure = explain(exc)
        if failure is None:
            raise
        hint = "What was deployed before it stays; deploy again to go on, or use --delete."
        raise Failure(f"{logical_id}: {failure.message}", status=failure.status, hint=failure.hint or hint) from exc


def delete_stack(server: Server, path: Path, name: str, given: Mapping[str, str]) -> None:
    """Remove everything that the stack has made, but what the template wants to be retained."""
    template, values = _read(server, path, name, given)
    scope = Scope(template.cloudformation, values)
    stack, report = Stack(server, name, {}), Report(name)
    report.rows += _removed(stack, _layers_to_delete(template, scope))
    report.rows += _log_groups_removed(stack, _wanted(template, scope), scope)
    _show(server, report)


def _read(server: Server, path: Path, name: str, given: Mapping[str, str]) -> tuple[Template, dict[str, Any]]:
    document = read_template(path)
    values = parameter_values(document, given)
    require_supported(refused_in_template(document))
    sts = server.client("sts")
    region = sts.meta.region_name or DEFAULT_REGION
    template = translate(document, path.parent, values, server.client("iam"), region)
    pseudo = {
        "AWS::AccountId": sts.get_caller_identity()["Account"],
        "AWS::Partition": "aws",
        "AWS::Region": region,
        "AWS::StackName": name,
        "AWS::URLSuffix": "amazonaws.com",
    }
    return template, {**values, **pseudo}


def _wanted(template: Template, scope: Scope) -> dict[str, Any]:
    """The resources whose condition holds."""
    return {
        logical_id: resource
        for logical_id, resource in template.cloudformation["Resources"].items()
        if "Condition" not in resource or scope.holds(resource["Condition"])
    }


def _removed(stack: Stack, layers: Sequence[str]) -> list[tuple[str, str, str, str]]:
    steps: tuple[Callable[[Stack], Iterator[tuple[str, str]]], ...] = (
        removal.remove_parts,
        removal.remove_mappings,
        removal.remove_functions,
        removal.remove_roles,
        lambda stack: removal.remove_layers(stack, layers),
    )
    return [("", kind, name, "deleted") for kind, name in chain.from_iterable(step(stack) for step in steps)]


def _layers_to_delete(template: Template, scope: Scope) -> list[str]:
    """Names of the layers whose versions go when the stack uses them no more. SAM retains them by default."""
    return [
        str(scope.resolve(resource["Properties"]["LayerName"]))
        for resource in _wanted(template, scope).values()
        if resource["Type"] == "AWS::Lambda::LayerVersion"
        and resource.get("DeletionPolicy") != "Retain"
        and "LayerName" in resource["Properties"]
    ]


def _log_groups_removed(
    stack: Stack, resources: Mapping[str, Any], scope: Scope
) -> Iterator[tuple[str, str, str, str]]:
    for logical_id, resource in resources.items():
        if resource["Type"] != "AWS::Logs::LogGroup" or resource.get("DeletionPolicy") == "Retain":
            continue
        name = scope.resolve(resource.get("Properties", {}).get("LogGroupName", stack.physical_name(logical_id)))
        if any(
            one["logGroupName"] == name for one in stack.logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
        ):
            stack.logs.delete_log_group(logGroupName=name)
            yield logical_id, "log group", name, "deleted"


def _outputs(template: Template, scope: Scope) -> dict[str, str]:
    return {
        name: scope.text(output["Value"])
        for name, output in template.cloudformation.get("Outputs", {}).items()
        if "Condition" not in output or scope.holds(output["Condition"])
    }


def _show(server: Server, report: Report) -> None:
    if server.as_json:
        columns = ("LogicalId", "Type", "Name", "Outcome")
        rows = [dict(zip(columns, row, strict=True)) for row in report.rows]
        print_json({"Stack": report.stack, "Resources": rows, "Outputs": report.outputs})
        return
    table = new_table("RESOURCE", "TYPE", "NAME", "OUTCOME")
    for row in report.rows:
        table.add_row(*row)
    print_table(table)
    for name, value in report.outputs.items():
        print(f"{name}: {value}")
