"""Code signing configurations: whose signatures a deployment needs, and what happens without one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class UntrustedArtifact(StrEnum):
    """What happens on deployment to code that no allowed publisher has signed."""

    WARN = "Warn"
    ENFORCE = "Enforce"


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeSigningConfig:
    """Stored under `config_key` of its ARN. `allowed_publishers` are ARNs of signing profile versions."""

    id: str
    account: str
    region: str
    description: str | None = None
    allowed_publishers: tuple[str, ...]
    untrusted_artifact: UntrustedArtifact = UntrustedArtifact.WARN
    tags: Mapping[str, str] = field(default_factory=dict)
    last_modified: str

    @property
    def arn(self) -> str:
        return f"arn:aws:lambda:{self.region}:{self.account}:code-signing-config:{self.id}"


def config_prefix(account: str, region: str) -> str:
    """What the keys of one account's and region's configurations begin with; their ids follow."""
    return f"code-signing-config/{account}/{region}/"
