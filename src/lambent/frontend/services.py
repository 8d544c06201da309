"""Which AWS service a request is for: told by what it signs for, else by its form."""

from __future__ import annotations

from collections.abc import Mapping

from lambent.spec.scope import signed_service

_SERVED = frozenset(("lambda", "logs", "sts", "iam"))


def find_service(path: str, headers: Mapping[str, str], body: bytes) -> str:
    """The service's name in botocore: `lambda`, `logs`, `sts` or `iam`; whatever has no mark is Lambda's to refuse."""
    service = signed_service(headers.get("authorization", ""), "")
    if service in _SERVED:
        return service
    if headers.get("x-amz-target", "").startswith("Logs_"):
        return "logs"
    if path == "/" and headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return "iam" if b"Version=2010-05-08" in body else "sts"
    return "lambda"
