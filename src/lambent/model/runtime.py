"""What a runtime is called beside its name: Lambent's runtimes have no versions of their own."""

from __future__ import annotations

import hashlib


def runtime_version_arn(runtime: str | None, region: str) -> str:
    """The RuntimeVersionArn of a runtime: the same runtime always has the same one."""
    digest = hashlib.sha256(f"lambent {runtime}".encode()).hexdigest()
    return f"arn:aws:lambda:{region}::runtime:{digest}"
