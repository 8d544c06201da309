"""Requests by the service model's shapes: good ones, and ones with something wrong with them."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from random import Random
from typing import Any

from botocore.model import Shape
from hypothesis import strategies as st
from lambda_wire import lambda_model, operation_names

from lambent.spec.constraints import java_pattern
from shape_values import text_for

ACCOUNT = "000000000000"
ARN = f"arn:aws:lambda:us-east-1:{ACCOUNT}"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/any"
FUNCTIONS = ("f", "g", "h")

Draw = Callable[[st.SearchStrategy[Any]], Any]
Request = tuple[str, dict[str, Any], Callable[[bytes], bytes]]
"""An operation, its members, and what happens to the body on its way."""


def zipped(text: str) -> str:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("app.py", text)
    return base64.b64encode(buffer.getvalue()).decode()


TOLD = "told:"
"""Begins a text that stands for what an answer has told: ids and ARNs that only the server can give out."""

# What exists on the server under test, or could: drawn often, so that requests reach beyond the first check.
KNOWN: Mapping[str, Sequence[Any]] = {
    "FunctionName": (
        "new-1",
        "new-2",
        *FUNCTIONS * 3,
        f"{ARN}:function:f",
        f"{ACCOUNT}:function:g",
        "function:h",
        "f:live",
        "f:1",
        "absent",
    ),
    "Resource": (f"{ARN}:function:f", f"{ARN}:function:g", f"{ARN}:function:f:1"),
    "ResourceArn": (f"{ARN}:function:f", f"{ARN}:function:f:live"),
    "Qualifier": ("$LATEST", "1", "2", "live", "new", "absent", "$LATEST.PUBLISHED"),
    "Name": ("live", "new"),
    "FunctionVersion": ("$LATEST", "1", "2", "3"),
    "LayerName": ("layer", "other"),
    "StatementId": ("s", "t"),
    "Principal": ("*", "s3.amazonaws.com", "123456789012", "nobody"),
    "Action": ("lambda:InvokeFunction", "lambda:InvokeFunctionUrl", "lambda:GetLayerVersion", "lambda:*"),
    "Runtime": ("python3.11", "provided.al2023", "nodejs22.x"),
    "Role": (ROLE,),
    "Handler": ("app.handler",),
    "ZipFile": (zipped("def handler(event, context): return event\n"), zipped("def handler(event, context): ...\n")),
    "ImageUri": (None,),
    "PackageType": ("Zip",),
    "Timeout": (1, 3, 900),
    "MemorySize": (128, 256),
    "Architectures": (["x86_64"],),
    "Layers": ([], [f"{ARN}:layer:layer:1"]),
    "Policy": ('{"Statement":{"Effect":"Deny","Principal":"*","Action":"lambda:*","Resource":"*"}}', "{}"),
    "Marker": (f"{TOLD}NextMarker", "Zg==", "$LATEST", ""),
    "InvocationType": ("DryRun", "RequestResponse", "Event"),
    "Payload": ("{}", '"text"', "{", ""),
    "EventSourceArn": (f"arn:aws:sqs:us-east-1:{ACCOUNT}:queue",),
    "CodeSigningConfigArn": (
        f"{TOLD}CodeSigningConfigArn",
        f"{ARN}:code-signing-config:csc-" + "0" * 17,
    ),
    "UUID": (f"{TOLD}UUID",),
    "Arn": (f"{TOLD}LayerVersionArn",),
    "CodeSha256": (f"{TOLD}CodeSha256",),
    "RevisionId": (None, f"{TOLD}RevisionId", "00000000-0000-4000-8000-000000000000"),
    "Publish": (True, False),
    "DryRun": (True, False),
}

USUAL = frozenset(("Runtime", "Handler", "LoggingConfig", "CompatibleRuntimes"))
"""Members that are there more often than not."""

BARE = frozenset(("VpcConfig", "FileSystemConfigs", "TracingConfig", "DurableConfig", "TenancyConfig", "PublishTo",
    "CapacityProviderConfig", "RuntimeConfig", "AcceleratorConfig", "ImageConfig", "KMSKeyArn", "SourceKMSKeyArn",
    "S3Bucket", "S3Key", "S3ObjectVersion", "S3ObjectStorageMode"))  # fmt: skip
"""Members that are refused by name as soon as they are there: drawn seldom, for they hide all the rest."""

UNICODE = ("", " ", "\x00", "ä", "\u2028", "🂡" * 70, "\ud800", "a\nb", "%2F", "../..", "a/b", "‮x", "𝔣", "١", "-0")
WRONG = (0, -1, 1.5, 10**30, -(2**63), True, None, "", "text", [], [[]], {}, {"a": 1}, [None])


UNHARMED = (lambda body: body,) * 120
MANGLERS: Sequence[Callable[[bytes], bytes]] = (
    *UNHARMED,
    lambda body: body[:-1],
    lambda body: body + b"}",
    lambda body: body.replace(b'"', b'"\xff', 1),
    lambda body: b"[" + body + b"]",
    lambda body: b"null",
    lambda body: b"{" * 5_000,
    lambda body: b'{"FunctionName": NaN}',
    lambda body: b"",
)


def huge(kind: str) -> Any:
    nested: Any = 0
    for _ in range(600):
        nested = [nested]
    return {"text": "x" * 200_000, "list": ["x"] * 20_000, "map": {str(n): "x" for n in range(20_000)}, "deep": nested}[
        kind
    ]


@st.composite
def requests(draw: Draw, names: Sequence[str] = tuple(operation_names())) -> Request:
    """An operation with its members: half of them as the model wants them, half with one or two things wrong.

    What is in a request is for plain dice to say: Hypothesis, which likes extremes, would seldom leave a thing out.
    """
    dice = draw(st.randoms(use_true_random=True))
    name = dice.choice(names)
    shape = lambda_model().operation_model(name).input_shape
    if shape is None:
        return name, {}, dice.choice(MANGLERS)
    members = structure(draw, dice, shape)
    for _ in range(dice.choice((0, 0, 0, 0, 1, 1, 1, 2))):
        spoil(draw, dice, shape, members)
    return name, members, dice.choice(MANGLERS)


def structure(draw: Draw, dice: Random, shape: Shape) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, member in shape.members.items():
        odds = 0.01 if name in BARE else 0.9 if name in USUAL else 0.2
        if (name in shape.required_members or dice.random() < odds) and not member.serialization.get("eventstream"):
            known = KNOWN.get(name, ()) if member.type_name != "structure" else ()
            value = dice.choice(known) if known and dice.random() < 0.9 else valid(draw, dice, member)
            if value is not None:
                members[name] = value
    return members


def valid(draw: Draw, dice: Random, shape: Shape) -> Any:
    least = shape.metadata.get("min", 0)
    most = shape.metadata.get("max", 10**6)
    match shape.type_name:
        case "structure":
            return structure(draw, dice, shape)
        case "list":
            return [valid(draw, dice, shape.member) for _ in range(dice.randint(least, min(most, least + 2)))]
        case "map":
            keys = [valid(draw, dice, shape.key) for _ in range(dice.randint(0, 2))]
            return {key: valid(draw, dice, shape.value) for key in keys}
        case "string":
            return draw(texts(shape.name))
        case "integer" | "long":
            return draw(st.one_of(st.sampled_from([least, min(most, least + 1), most]), st.integers(least, most)))
        case "float" | "double":
            return draw(st.floats(float(least), float(min(most, 1e6))))
        case "boolean":
            return dice.random() < 0.5
        case "blob":
            return dice.choice(("", "e30=", zipped("x")))
        case "timestamp":
            return dice.randint(0, 2**33)
    raise AssertionError(shape.type_name)


@cache
def texts(shape_name: str) -> st.SearchStrategy[str]:
    shape = lambda_model().shape_for(shape_name)
    traits = shape.metadata
    if "enum" in traits:
        return st.sampled_from(list(traits["enum"]))
    least, most = traits.get("min", 0), min(traits.get("max", 50), 50)
    found = st.just(text_for(shape))
    if "pattern" not in traits:
        return st.one_of(found, st.text(min_size=least, max_size=max(most, least)))
    by_pattern = st.from_regex(java_pattern(traits["pattern"]), fullmatch=True)
    return st.one_of(found, by_pattern.filter(lambda text: least <= len(text) <= traits.get("max", 10**6)))


def spoil(draw: Draw, dice: Random, shape: Shape, members: dict[str, Any]) -> None:
    """Make one thing wrong, somewhere in the request."""
    places = list(_places(shape, members))
    container, key, inner = dice.choice(places) if places else (members, "Unknown", None)
    how = dice.choice(("edge", "edge", "edge", "wrong", "unicode", "huge", "missing", "unknown"))
    if how == "missing" and isinstance(container, dict):
        container.pop(key, None)
    elif how == "unknown" and isinstance(container, dict):
        container["Unknown"] = dice.choice(WRONG)
    elif how == "edge" and inner is not None:
        container[key] = dice.choice(list(_beyond(inner)))
    elif how == "unicode":
        container[key] = draw(st.one_of(st.sampled_from(UNICODE), st.text(max_size=20)))
    elif how == "huge":
        container[key] = huge(dice.choice(("text", "list", "map", "deep")))
    else:
        container[key] = dice.choice(WRONG)


def _places(shape: Shape, value: Any) -> Iterator[tuple[Any, Any, Shape | None]]:
    """Every value in the request that can be replaced."""
    if shape.type_name == "structure" and isinstance(value, dict):
        for name, member in shape.members.items():
            yield value, name, member
            if name in value:
                yield from _places(member, value[name])
    elif shape.type_name == "list" and isinstance(value, list):
        for index, element in enumerate(value):
            yield value, index, shape.member
            yield from _places(shape.member, element)
    elif shape.type_name == "map" and isinstance(value, dict):
        for key, element in value.items():
            yield value, key, shape.value
            yield from _places(shape.value, element)


def _beyond(shape: Shape) -> Iterator[Any]:
    """Just inside and just outside of each constraint."""
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    bounds = [bound + step for bound in (least, most) if bound is not None for step in (-1, 0, 1)]
    for bound in bounds:
        if shape.type_name in ("integer", "long", "float", "double"):
            yield bound
        elif shape.type_name == "string" and bound >= 0:
            yield "x" * int(bound)
            yield "1" * int(bound)
        elif shape.type_name == "list" and bound >= 0:
            yield ["x"] * int(bound)
        elif shape.type_name == "map" and bound >= 0:
            yield {f"k{number}": "v" for number in range(int(bound))}
    if "enum" in shape.metadata:
        yield shape.metadata["enum"][0].lower()
    yield None


def filled(value: Any, told: Callable[[str], str]) -> Any:
    """The members with what was told in its place."""
    match value:
        case str() if value.startswith(TOLD):
            return told(value.removeprefix(TOLD))
        case dict():
            return {key: filled(element, told) for key, element in value.items()}
        case list():
            return [filled(element, told) for element in value]
    return value
