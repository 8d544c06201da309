"""Which AWS service a request is signed for: the one thing that every client tells in every protocol."""

from __future__ import annotations

import re
from urllib.parse import unquote

# The region is missing in signatures of version 4a.
_SCOPE = re.compile(r"Credential=[^/,&\s]+/\d{8}/(?:[^/,&\s]+/)?(?P<service>[a-z0-9-]+)/aws4_request")


def signed_service(authorization: str, query: str) -> str | None:
    """The service of the credential scope, from the header or from a presigned URL; None where there is none."""
    found = _SCOPE.search(authorization)
    if found is None and "X-Amz-Credential=" in query:
        found = _SCOPE.search(unquote(query))
    return found["service"] if found else None
