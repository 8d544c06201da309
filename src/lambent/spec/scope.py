"""Which AWS service a request is signed for: the one thing that every client tells in every protocol."""

from __future__ import annotations

import functools
import re
from urllib.parse import unquote

# The region is missing in signatures of version 4a.
_SCOPE = re.compile(r"Credential=[^/,&\s]+/\d{8}/(?:[^/,&\s]+/)?(?P<service>[a-z0-9-]+)/aws4_request")


def signed_service(authorization: str, query: str) -> str | None:
    """The service of the credential scope, from the header or from a presigned URL; None where there is none."""
    known = _known(authorization.rpartition("Signature=")[0])
    return known if known is not None else _search(authorization) or _search_presigned(query)


@functools.lru_cache(maxsize=1_024)
def _known(text: str) -> str | None:
    """Of what a client says in every request of a day: all but the signature."""
    return _search(text)


def _search(text: str) -> str | None:
    found = _SCOPE.search(text)
    return found["service"] if found else None


def _search_presigned(query: str) -> str | None:
    return _search(unquote(query)) if "X-Amz-Credential=" in query else None
