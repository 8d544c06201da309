"""One deployment of a stack: what it knows, and what it has found and made so far."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any  # Any: botocore's clients are made at run time and have no types

from lambent.cli.connection import Server
from lambent.cli.failure import ExitStatus, Failure
from lambent.cli.stack.intrinsics import Made

STACK_TAG = "lambent:stack"
"""On functions, roles and mappings: the stack that they are part of."""
PART_TAGS = {"alias": "lambent:aliases", "url": "lambent:urls", "invoke": "lambent:invoke-configs"}
"""On functions: the qualifiers of what the stack has made of each kind, apart by spaces."""
LATEST = "LATEST"
"""Stands for no qualifier where `$LATEST` may not be written."""
WAIT = {"Delay": 0.1, "MaxAttempts": 3000}

_NAME_MAXIMUM = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """One resource as it is now; `outcome` is `created`, `updated` or `unchanged`."""

    outcome: str
    made: Made


@dataclass(slots=True)
class Function:
    """A function of the stack: what it had before, and which parts the template gives it."""

    tags: Mapping[str, str]
    parts: set[tuple[str, str]] = field(default_factory=set)
    """Kind, as in PART_TAGS, and qualifier."""
    statements: set[tuple[str, str]] = field(default_factory=set)
    """Qualifier and statement id."""

    @property
    def parts_before(self) -> set[tuple[str, str]]:
        return {(kind, one) for kind, tag in PART_TAGS.items() for one in self.tags.get(tag, "").split()}


class Stack:
    """Clients are made once they are needed: each reads a service model."""

    def __init__(self, server: Server, name: str, packages: Mapping[str, bytes]) -> None:
        self.name = name
        self.packages = packages
        self.functions: dict[str, Function] = {}
        self.roles: set[str] = set()
        self.mappings: set[str] = set()
        self.layers: dict[str, str] = {}
        """The ARN of the version that counts, by the ARN of the layer."""
        self.layers_before: set[str] = set()
        """ARNs of layer versions that functions of the stack had before."""
        self._server = server

    @cached_property
    def aws_lambda(self) -> Any:
        return self._server.client("lambda")

    @cached_property
    def iam(self) -> Any:
        return self._server.client("iam")

    @cached_property
    def logs(self) -> Any:
        return self._server.client("logs")

    def tagged(self, wanted: Mapping[str, Any]) -> dict[str, str]:
        """The tags that a template gives to a resource, and the stack's own."""
        return {tag["Key"]: str(tag["Value"]) for tag in wanted.get("Tags", ())} | {STACK_TAG: self.name}

    def physical_name(self, logical_id: str) -> str:
        """What a resource is called that the template gives no name."""
        name = f"{self.name}-{logical_id}"
        if len(name) <= _NAME_MAXIMUM:
            return name
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        return f"{name[: _NAME_MAXIMUM - 9]}-{digest}"

    def require_own(self, kind: str, name: str, tags: Mapping[str, str]) -> None:
        """Refuse to take over what is another's.

        Raises:
            Failure: it exists and is not part of this stack.
        """
        owner = tags.get(STACK_TAG)
        if owner != self.name:
            whose = f"is part of the stack {owner}" if owner else "exists, and is part of no stack"
            raise Failure(
                f"The {kind} {name} {whose}.",
                status=ExitStatus.REFUSED,
                hint="Give the stack another --name, or the resource another name in the template.",
            )

    def function(self, name: str) -> Function:
        """What this deployment knows of a function: one of its own, or another that the template names."""
        return self.functions.setdefault(name, Function(tags={}))


Apply = Callable[[Stack, str, dict[str, Any]], Applied]


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of resource: the properties that are known, and how one is brought about."""

    properties: Collection[str]
    apply: Apply


def found(call: Callable[..., Any], **parameters: Any) -> Any:
    """What a Get operation answers; None where AWS says that there is nothing."""
    from botocore.exceptions import ClientError

    try:
        return call(**parameters)
    except ClientError as exc:
        if exc.response["Error"]["Code"] in ("ResourceNotFoundException", "NoSuchEntity"):
            return None
        raise


def typed(client: Any, operation: str, members: Mapping[str, Any]) -> dict[str, Any]:
    """The members as the service model types them: templates write numbers as texts, and texts as numbers."""
    return dict(_typed(members, client.meta.service_model.operation_model(operation).input_shape))


def _typed(value: Any, shape: Any) -> Any:
    match value, shape.type_name:
        case Mapping(), "structure":
            known = shape.members
            return {name: _typed(one, known[name]) if name in known else one for name, one in value.items()}
        case Mapping(), "map":
            return {name: _typed(one, shape.value) for name, one in value.items()}
        case list(), "list":
            return [_typed(one, shape.member) for one in value]
        case str(), "integer" | "long":
            return int(value)
        case str(), "float" | "double":
            return float(value)
        case str(), "boolean":
            return value.lower() == "true"
        case bool(), "string":
            return str(value).lower()
        case int() | float(), "string":
            return str(value)
    return value


def split_function(name: str) -> tuple[str, str | None]:
    """The plain name in a name or ARN of a function, and its qualifier."""
    parts = name.split(":")
    if parts[0] != "arn":
        plain, _, qualifier = name.partition(":")
        return plain, qualifier or None
    return parts[6], parts[7] if len(parts) > 7 else None


def qualified(parameters: Mapping[str, Any], qualifier: str | None) -> dict[str, Any]:
    """The parameters, with the qualifier if there is one."""
    return {**parameters, **({"Qualifier": qualifier} if qualifier else {})}
