"""Values that a service model's shapes allow: what a well-behaved client might send, or a service answer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from botocore.model import Shape

from lambent.spec.constraints import java_pattern

MOMENT = datetime(2024, 2, 29, 12, 30, 15, tzinfo=UTC)

# Texts tried in turn against a member's pattern and length: names, numbers, ARNs, URLs and the like.
TEXTS = (
    "a", "ab", "5", "12", "1.0", "x" * 20, "123456789012", "/", "/a/", "a=b", "a:b", "Äö &<>\"'\u2028",
    "Value with spaces + plus/slash?=%41", "us-east-1", "$LATEST", "a/b", "$.a.b", "*", "abcdefghijklmnop",
    "arn:aws:iam::123456789012:role/service/name", "arn:aws:lambda:eu-west-1:123456789012:function:name",
    "arn:aws:lambda:eu-west-1:123456789012:function:name:1", "arn:aws:lambda:eu-west-1:123456789012:layer:name",
    "arn:aws:lambda:eu-west-1:123456789012:layer:name:3", "arn:aws:lambda:us-east-1::runtime:" + "0" * 64,
    "arn:aws:lambda:eu-west-1:123456789012:code-signing-config:csc-" + "a" * 17,
    "arn:aws:lambda:eu-west-1:123456789012:event-source-mapping:00000000-0000-0000-0000-000000000000",
    "arn:aws:lambda:eu-west-1:123456789012:capacity-provider:name",
    "arn:aws:lambda:eu-west-1:123456789012:function:name:1/durable-execution/name/id",
    "arn:aws:signer:eu-west-1:123456789012:/signing-profiles/name/version",
    "arn:aws:elasticfilesystem:eu-west-1:123456789012:access-point/fsap-0123456789abcdef0",
    "arn:aws:kms:eu-west-1:123456789012:key/00000000-0000-0000-0000-000000000000",
    "arn:aws:secretsmanager:eu-west-1:123456789012:secret:name", "arn:aws:sqs:eu-west-1:123456789012:name",
    "arn:aws:logs:eu-west-1:123456789012:log-group:name", "arn:aws:s3:::name/prefix", "arn:aws:s3:::name",
    "/mnt/data", "kafka.example.com:9092", "https://example.com", "https://example.com/path", "lambda:InvokeFunction",
    "lambda:GetLayerVersion", "lambda.amazonaws.com", "o-abcdefghij", "r-abcd", "o-abcdefghij/r-abcd/ou-abcd-12345678/",
    "vpc-0123456789abcdef0", "subnet-0123456789abcdef0", "sg-0123456789abcdef0", "vpce-0123456789abcdef0",
    "00000000-0000-0000-0000-000000000000", "s3://bucket/key", "cron(0 0 * * ? *)", "p-abcdefghij",
    "ABCDEFGHIJKLMNOPQRST", "3600", "name@example.com", "2024-01-01", "1234567890.apps", "python3.12", "nodejs22.x",
    "eu-west-1a", "123456789012.dkr.ecr.eu-west-1.amazonaws.com/name:tag", "x" * 40, "x" * 64, "+09:00", "123456",
    "A" * 128, "A" * 32, "v1", "csc-" + "a" * 17, "SomeException", "arn:aws:lambda:eu-west-1:123456789012:runtime/name",
)  # fmt: skip


def text_for(shape: Shape) -> str:
    traits = shape.metadata
    if "enum" in traits:
        return str(traits["enum"][-1])
    least, most = traits.get("min", 0), traits.get("max", 10**6)
    pattern = traits.get("pattern")
    for text in (*TEXTS, "x" * least):
        if least <= len(text) <= most and (pattern is None or java_pattern(pattern).fullmatch(text)):
            return text
    raise AssertionError(f"no text at hand fits {shape.name}: {traits}")


def value_for(shape: Shape, depth: int = 0, required_only: bool = False) -> Any:
    """A value with every member filled, down to a depth where recursive shapes end, or only the required ones."""
    least = shape.metadata.get("min", 1)
    match shape.type_name:
        case "structure":
            wanted = shape.required_members if required_only or depth > 5 else list(shape.members)
            if required_only and depth and not wanted:
                wanted = list(shape.members)[:1]  # the query protocol cannot say "an empty structure"
            members = {name: shape.members[name] for name in wanted if not is_stream(shape.members[name])}
            return {name: value_for(member, depth + 1, required_only) for name, member in members.items()}
        case "list":
            return [value_for(shape.member, depth + 1, required_only) for _ in range(max(1, least))]
        case "map":
            keys = shape.key.metadata.get("enum") or [text_for(shape.key) + suffix for suffix in ("", "1", "2")]
            return {key: value_for(shape.value, depth + 1, required_only) for key in keys[: max(1, least)]}
        case "string":
            return text_for(shape)
        case "integer" | "long":
            return max(1, least)
        case "float" | "double":
            return max(0.5, shape.metadata.get("min", 0.5))
        case "boolean":
            return True
        case "blob":
            return b"\x00\xff" * 4
        case "timestamp":
            return MOMENT
    raise AssertionError(shape.type_name)


def is_stream(shape: Shape) -> bool:
    return bool(shape.serialization.get("eventstream"))
