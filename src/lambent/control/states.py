"""Where a function stands: what may be asked of it now, and how creation, update and activation move it on.

Pure functions of records (reference/api.md §3.1, §3.2). `latest` changes its RevisionId with every step.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import msgspec

from lambent.control.stamps import age_s
from lambent.model.arn import LATEST
from lambent.model.errors import PreconditionFailed, ResourceConflict
from lambent.model.function import SNAP_START_ON, FunctionRecord, FunctionVersion, State, UpdateStatus

_STUCK_AFTER_S = 360.0
"""From then on updates and deletes of a Pending function are let through."""

_CREATING = "The function is being created."
_CREATING_CODE = "Creating"


def require_settled(latest: FunctionVersion, now: float) -> None:
    """Raises ResourceConflict while a creation or an update is under way."""
    if age_s(latest.last_modified, now) > _STUCK_AFTER_S:
        return
    if latest.state is State.PENDING:
        raise ResourceConflict(
            "The operation cannot be performed at this time. The function is currently in the following state: Pending"
        )
    if latest.last_update_status is UpdateStatus.IN_PROGRESS:
        raise ResourceConflict(
            f"The operation cannot be performed at this time. An update is in progress for resource: {latest.arn}"
        )


def require_publishable(latest: FunctionVersion) -> None:
    """Raises ResourceConflict where `latest` has never been made ready to run."""
    if latest.state is State.FAILED or latest.last_update_status is UpdateStatus.FAILED:
        raise ResourceConflict(
            "The operation cannot be performed at this time. The function is currently in the following state: Failed"
        )


def require_revision(current: str, expected: str | None, *, reader: str = "GetFunction/GetAlias") -> None:
    """`reader` names the operation that tells the current RevisionId."""
    if expected is not None and expected != current:
        raise PreconditionFailed(
            f"The Revision Id provided does not match the latest Revision Id. Call the {reader} API to retrieve the "
            "latest Revision Id"
        )


def is_under_way(record: FunctionRecord) -> bool:
    """Its activation has not come to an end: so it is resumed when the server starts."""
    return record.latest.state is State.PENDING or record.latest.last_update_status is UpdateStatus.IN_PROGRESS


def created(version: FunctionVersion) -> FunctionVersion:
    return replace(version, state=State.PENDING, state_reason=_CREATING, state_reason_code=_CREATING_CODE)


def updating(record: FunctionRecord, latest: FunctionVersion) -> FunctionRecord:
    """The record with `latest` as its new configuration, while the one that works now goes on serving."""
    before = record.latest
    if before.state is not State.ACTIVE:
        return replace(record, latest=created(latest), serving=None)
    is_working = before.last_update_status is UpdateStatus.SUCCESSFUL
    return replace(
        record,
        serving=before if is_working else record.serving,
        latest=replace(
            latest,
            last_update_status=UpdateStatus.IN_PROGRESS,
            last_update_status_reason=_CREATING,
            last_update_status_reason_code=_CREATING_CODE,
        ),
    )


def takes_snapshot(version: FunctionVersion) -> bool:
    """Whether a published version starts from a snapshot (SnapStart), which is taken while it is Pending."""
    return version.snap_start == SNAP_START_ON and version.version != LATEST


_SNAPSHOT_FAILURES = {
    "Sandbox.Timedout": "FunctionError.InitTimeout",
    "Runtime.OutOfMemory": "FunctionError.InitResourceExhausted",
    "Runtime.InvalidEntrypoint": "FunctionError.InvalidEntryPoint",
    "Runtime.ExitError": "FunctionError",
}


def snapshot_failure_code(error_type: str) -> str:
    """AWS's StateReasonCode for an Init that has failed while the snapshot was taken."""
    if error_type.startswith("Extension."):
        return "FunctionError.ExtensionInitError"
    return _SNAPSHOT_FAILURES.get(error_type, "FunctionError.RuntimeInitError")


def activated(version: FunctionVersion, revision_id: str) -> FunctionVersion:
    return replace(
        version,
        revision_id=revision_id,
        state=State.ACTIVE,
        state_reason=None,
        state_reason_code=None,
        last_update_status=UpdateStatus.SUCCESSFUL,
        last_update_status_reason=None,
        last_update_status_reason_code=None,
    )


def failed(version: FunctionVersion, revision_id: str, reason: str, code: str) -> FunctionVersion:
    """A failed creation leaves nothing to run; after a failed update the configuration before it goes on serving."""
    if version.state is State.PENDING:
        return replace(
            version, revision_id=revision_id, state=State.FAILED, state_reason=reason, state_reason_code=code
        )
    return replace(
        version,
        revision_id=revision_id,
        last_update_status=UpdateStatus.FAILED,
        last_update_status_reason=reason,
        last_update_status_reason_code=code,
    )


def published(
    record: FunctionRecord, revision_id: str, description: str | None = None
) -> tuple[FunctionRecord, FunctionVersion]:
    """A copy of `latest` as the next version, and the record that names it."""
    version = replace(
        record.latest,
        version=str(record.next_version),
        description=record.latest.description if description is None else description,
        revision_id=revision_id,
    )
    if takes_snapshot(version):
        version = replace(created(version), last_update_status=None)
    naming = replace(
        record,
        next_version=record.next_version + 1,
        versions=(*record.versions, record.next_version),
        published_config=config_digest(record.latest),
    )
    return naming, version


def unchanged_version(record: FunctionRecord) -> int | None:
    """The number of the last published version, if it still exists and nothing has changed since."""
    last = record.next_version - 1
    is_same = last in record.versions and record.published_config == config_digest(record.latest)
    return last if is_same else None


def config_digest(version: FunctionVersion) -> str:
    """Of everything a version publishes: two equal digests have nothing to publish between them."""
    lasting = replace(
        version,
        version=LATEST,
        last_modified="",
        revision_id="",
        state=State.ACTIVE,
        state_reason=None,
        state_reason_code=None,
        last_update_status=None,
        last_update_status_reason=None,
        last_update_status_reason_code=None,
    )
    return hashlib.sha256(msgspec.json.encode(lasting, order="deterministic")).hexdigest()


def without_qualifier(record: FunctionRecord, qualifier: str) -> FunctionRecord:
    """The record without what was configured for a version or alias that ceases to exist."""
    configs = {name: config for name, config in record.event_invoke_configs.items() if name != qualifier}
    policies = {name: policy for name, policy in record.policies.items() if name != qualifier}
    managements = {name: one for name, one in record.runtime_managements.items() if name != qualifier}
    urls = {name: config for name, config in record.url_configs.items() if name != qualifier}
    provisioned = {name: one for name, one in record.provisioned.items() if name != qualifier}
    return replace(
        record,
        event_invoke_configs=configs,
        policies=policies,
        runtime_managements=managements,
        url_configs=urls,
        provisioned=provisioned,
    )
