"""A version of a function for tests of what does not run it: active, and like any other but for what is said."""

from __future__ import annotations

from typing import Any

from lambent.model.function import FunctionVersion, State, UpdateStatus


def function_version(**members: Any) -> FunctionVersion:
    usual: dict[str, Any] = {
        "account": "000000000000",
        "region": "us-east-1",
        "name": "f",
        "role": "arn:aws:iam::000000000000:role/r",
        "runtime": "python3.12",
        "handler": "app.handler",
        "code_blob": "0" * 64,
        "code_sha256": "",
        "code_size_bytes": 1,
        "code_unzipped_bytes": 1,
        "last_modified": "2024-01-01T00:00:00.000+0000",
        "revision_id": "1",
        "state": State.ACTIVE,
        "last_update_status": UpdateStatus.SUCCESSFUL,
    }
    return FunctionVersion(**usual | members)
