"""What of a template Lambent cannot deploy, said for each resource before anything is done; and the order of the rest.

Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any  # Any: what a template holds

from lambent.cli.failure import ExitStatus, Failure
from lambent.cli.stack.intrinsics import references

_FUNCTION, _LAYER = "AWS::Serverless::Function", "AWS::Serverless::LayerVersion"
_EVENTS = frozenset(("DocumentDB", "DynamoDB", "Kinesis", "MQ", "MSK", "SQS", "SelfManagedKafka"))
"""Events that are event source mappings. All others are resources of services that Lambent is not."""


def refused_in_template(document: Mapping[str, Any]) -> Iterator[str]:
    """What SAM could translate but Lambent could not deploy."""
    for logical_id, resource in document["Resources"].items():
        kind = resource.get("Type", "")
        if kind.startswith("AWS::Serverless::") and kind not in (_FUNCTION, _LAYER):
            yield f"{logical_id}: {kind}"
        if kind != _FUNCTION:
            continue
        properties = resource.get("Properties", {})
        for name, event in (properties.get("Events") or {}).items():
            if event.get("Type") not in _EVENTS:
                yield f"{logical_id}: the event {name} of type {event.get('Type')}"
        if properties.get("PackageType") == "Image" or "ImageUri" in properties:
            yield f"{logical_id}: container images"
        if "DeploymentPreference" in properties:
            yield f"{logical_id}: DeploymentPreference"


def refused_in_resources(resources: Mapping[str, Any], properties_of: Mapping[str, Collection[str]]) -> Iterator[str]:
    """Types, and properties of types, that are not known."""
    for logical_id, resource in resources.items():
        known = properties_of.get(resource["Type"])
        if known is None:
            yield f"{logical_id}: {resource['Type']}"
            continue
        for name in resource.get("Properties", {}):
            if name not in known:
                yield f"{logical_id}: the property {name} of {resource['Type']}"


def require_supported(refused: Iterator[str]) -> None:
    """Raise a Failure that lists everything refused, if anything is."""
    lines = list(dict.fromkeys(refused))
    if lines:
        listed = "\n".join(f"  {line}" for line in lines)
        raise Failure(
            f"Lambent cannot deploy this of the template:\n{listed}",
            status=ExitStatus.REFUSED,
            hint="Nothing was deployed. Remove these, or deploy what needs them elsewhere.",
        )


def in_order(resources: Mapping[str, Any]) -> Sequence[str]:
    """The logical ids, each behind those it mentions or depends on."""
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for logical_id, resource in resources.items():
        named = resource.get("DependsOn", [])
        needed = {*references(resource.get("Properties", {})), *([named] if isinstance(named, str) else named)}
        sorter.add(logical_id, *(name for name in needed if name in resources and name != logical_id))
    try:
        return list(sorter.static_order())
    except CycleError as exc:
        raise Failure(
            f"The resources depend on each other in a circle: {' → '.join(exc.args[1])}", status=ExitStatus.USAGE
        ) from exc
