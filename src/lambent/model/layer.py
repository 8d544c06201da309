"""What a layer is: numbered versions of files that functions find in /opt."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ARN = re.compile(
    r"arn:aws[a-zA-Z-]*:lambda:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):layer:(?P<name>[a-zA-Z0-9-_]+)(?::(?P<version>\d+))?"
)


@dataclass(frozen=True, slots=True)
class LayerArn:
    """A layer, or one version of it when `version` is set."""

    region: str
    account: str
    name: str
    version: int | None = None

    def __str__(self) -> str:
        tail = "" if self.version is None else f":{self.version}"
        return f"arn:aws:lambda:{self.region}:{self.account}:layer:{self.name}{tail}"

    @property
    def unversioned(self) -> LayerArn:
        return LayerArn(self.region, self.account, self.name)

    def versioned(self, version: int) -> LayerArn:
        return LayerArn(self.region, self.account, self.name, version)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerReference:
    """A layer as a function holds it: enough to run with it, even after its version was deleted."""

    arn: str
    code_blob: str
    code_size_bytes: int
    unzipped_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerStatement:
    """Whom a layer's policy lets use it: `principal` is an account's id, or `*` for every account."""

    sid: str
    principal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerVersion:
    """One published version. Its files never change; `policy` may, and `policy_revision_id` with it."""

    number: int
    description: str = ""
    license_info: str | None = None
    compatible_runtimes: tuple[str, ...] = ()
    compatible_architectures: tuple[str, ...] = ()
    created_date: str
    code_blob: str
    code_sha256: str
    code_size_bytes: int
    unzipped_bytes: int
    policy: tuple[LayerStatement, ...] = ()
    policy_revision_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRecord:
    """A layer with the versions that still exist, oldest first; it stays without any, for numbers are never reused."""

    account: str
    region: str
    name: str
    next_version: int = 1
    versions: tuple[LayerVersion, ...] = ()

    @property
    def arn(self) -> LayerArn:
        return LayerArn(self.region, self.account, self.name)

    def version(self, number: int) -> LayerVersion | None:
        return next((version for version in self.versions if version.number == number), None)


def layer_key(account: str, region: str, name: str) -> str:
    """Key of a LayerRecord in the store; a prefix scan lists one account and region."""
    return f"layer/{account}/{region}/{name}"


def parse_layer_arn(text: str) -> LayerArn | None:
    """None where the text is no ARN of a layer."""
    match = _ARN.fullmatch(text)
    if match is None:
        return None
    return LayerArn(
        match["region"], match["account"], match["name"], int(match["version"]) if match["version"] else None
    )
