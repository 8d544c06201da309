"""Which AWS service a request is for: told by what it signs for, else by its form."""

from __future__ import annotations

import re
from collections.abc import Mapping

_SCOPE = re.compile(r"Credential=[^/,\s]+/\d{8}/[^/,\s]+/(?P<service>[a-z0-9-]+)/aws4_request")
_SERVED = frozenset(("lambda", "logs", "sts", "iam"))


def find_service(path: str, headers: Mapping[str, str], body: bytes) -> str:
    """The service's name in botocore: `lambda`, `logs`, `sts` or `iam`; whatever has no mark is Lambda's to refuse."""
    scope = _SCOPE.search(headers.get("authorization", ""))
    if scope is not None and scope["service"] in _SERVED:
        return scope["service"]
    if headers.get("x-amz-target", "").startswith("Logs_"):
        return "logs"
    if path == "/" and headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return "iam" if b"Version=2010-05-08" in body else "sts"
    return "lambda"
