"""Where code lies that a request only names: an S3 bucket."""

from __future__ import annotations

from typing import Protocol


class CodeSource(Protocol):
    async def fetch(self, bucket: str, key: str, *, version: str | None, region: str) -> bytes:
        """The object's bytes.

        Raises:
            InvalidParameterValue: there is no such object, it is larger than any package may be, or no source is known.
        """
        ...
