"""What a function is: its record, versions and aliases, as stored and as handed to a worker.

One `FunctionRecord` per function is the unit of atomic change (a put with an expected revision); each published
version is an immutable record of its own, written before the function record starts to name it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from lambent.model.arn import LATEST, FunctionArn
from lambent.model.event_invoke import EventInvokeConfig
from lambent.model.function_url import FunctionUrlConfig
from lambent.model.layer import LayerReference
from lambent.model.provisioned import ProvisionedConcurrency


class State(StrEnum):
    PENDING = "Pending"
    ACTIVE = "Active"
    INACTIVE = "Inactive"
    FAILED = "Failed"


class UpdateStatus(StrEnum):
    SUCCESSFUL = "Successful"
    FAILED = "Failed"
    IN_PROGRESS = "InProgress"


class LogFormat(StrEnum):
    TEXT = "Text"
    JSON = "JSON"


class RecursiveLoop(StrEnum):
    """What happens to a function that goes on invoking itself, by way of queues, topics or other functions."""

    TERMINATE = "Terminate"
    ALLOW = "Allow"


SNAP_START_ON = "PublishedVersions"
"""What `FunctionVersion.snap_start` is where published versions start from a snapshot."""

DEFAULT_LOG_LEVEL = "INFO"
"""Of both levels, where the format is JSON."""


class UpdateRuntimeOn(StrEnum):
    AUTO = "Auto"
    FUNCTION_UPDATE = "FunctionUpdate"
    MANUAL = "Manual"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeManagement:
    """When a version's runtime may change; `runtime_version_arn` is the one that Manual holds on to."""

    update_on: UpdateRuntimeOn = UpdateRuntimeOn.AUTO
    runtime_version_arn: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggingConfig:
    """Levels apply to the JSON format only; `log_group` defaults to /aws/lambda/<name>."""

    log_format: LogFormat = LogFormat.TEXT
    log_group: str = ""
    application_log_level: str | None = None
    system_log_level: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionVersion:
    """Everything about one version of a function: what GetFunctionConfiguration says and what a worker needs.

    `code_blob` names the package in the `blobs` port (hex SHA-256 of the zip); `code_sha256` is the same hash as AWS
    shows it (base64). Times are AWS's text, `2024-01-01T00:00:00.000+0000`.
    """

    account: str
    region: str
    name: str
    version: str = LATEST
    description: str = ""
    role: str
    runtime: str | None
    handler: str | None
    timeout_s: int = 3
    memory_mib: int = 128
    ephemeral_storage_mib: int = 512
    environment: Mapping[str, str] | None = None
    architectures: tuple[str, ...] = ("x86_64",)
    layers: tuple[LayerReference, ...] = ()
    package_type: str = "Zip"
    tracing_mode: str = "PassThrough"
    dead_letter_target_arn: str | None = None
    kms_key_arn: str | None = None
    snap_start: str = "None"
    logging: LoggingConfig = field(default_factory=LoggingConfig)
    code_blob: str
    code_sha256: str
    code_size_bytes: int
    code_unzipped_bytes: int
    last_modified: str
    revision_id: str
    state: State = State.PENDING
    state_reason: str | None = None
    state_reason_code: str | None = None
    last_update_status: UpdateStatus | None = None
    last_update_status_reason: str | None = None
    last_update_status_reason_code: str | None = None

    @property
    def arn(self) -> FunctionArn:
        """The unqualified ARN."""
        return FunctionArn(self.region, self.account, self.name)

    @property
    def qualified_arn(self) -> FunctionArn:
        return FunctionArn(self.region, self.account, self.name, self.version)

    @property
    def log_group(self) -> str:
        return self.logging.log_group or f"/aws/lambda/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """A name for a version; `additional_weights` routes a share (0–1) of the invokes to one other version."""

    name: str
    function_version: str
    description: str = ""
    additional_weights: Mapping[str, float] = field(default_factory=dict)
    is_moving: bool = False
    """What is provisioned for it is being made anew in `function_version`; its weights end with that."""
    revision_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionRecord:
    """The function as a whole, stored under `function_key`. `versions` lists the published numbers still existing.

    `latest` is what was configured last; while its `last_update_status` is InProgress, invokes of $LATEST are served by
    `serving` (the previous configuration) if there is one.
    """

    latest: FunctionVersion
    serving: FunctionVersion | None = None
    next_version: int = 1
    versions: tuple[int, ...] = ()
    aliases: Mapping[str, Alias] = field(default_factory=dict)
    reserved_concurrency: int | None = None
    provisioned: Mapping[str, ProvisionedConcurrency] = field(default_factory=dict)
    """By qualifier: a version's number or an alias."""
    tags: Mapping[str, str] = field(default_factory=dict)
    event_invoke_configs: Mapping[str, EventInvokeConfig] = field(default_factory=dict)
    """By qualifier: `$LATEST`, a version's number or an alias."""
    recursive_loop: RecursiveLoop = RecursiveLoop.TERMINATE
    code_signing_config_arn: str | None = None
    runtime_managements: Mapping[str, RuntimeManagement] = field(default_factory=dict)
    """By version; of a version that is not in here the default holds."""
    policies: Mapping[str, str] = field(default_factory=dict)
    """Resource policies, JSON as GetPolicy shows it, by qualifier; that of the function itself by the empty string."""
    url_configs: Mapping[str, FunctionUrlConfig] = field(default_factory=dict)
    """Function URLs by alias; that of the function itself by the empty string."""
    published_config: str | None = None
    """Digest of `latest` when version `next_version - 1` was published from it: an equal one has nothing to publish."""


def function_key(account: str, region: str, name: str) -> str:
    """Key of a FunctionRecord in the store. Names hold no '/', so a prefix scan lists one account and region."""
    return f"function/{account}/{region}/{name}"


def version_key(account: str, region: str, name: str, number: int) -> str:
    """Key of a published, immutable FunctionVersion. The number is zero-padded so that a scan is in order."""
    return f"version/{account}/{region}/{name}/{number:010d}"
