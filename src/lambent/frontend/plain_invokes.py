"""Invokes that say nothing but whom, by their path, and with what: nearly all. What a path means is read once.

That depends on the service model alone, so nothing makes it stale. Who may do it, and what it runs, is asked each time.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

from lambent.frontend.invoke_api import OTHER_MEDIA, InvokeCall
from lambent.model.arn import FunctionArn
from lambent.model.errors import ApiError
from lambent.spec.service import Service

_PATHS_KNOWN = 4_096


class PlainInvokes:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._parameters = service.operations["Invoke"].headers
        self._named = functools.lru_cache(maxsize=_PATHS_KNOWN)(self._read)

    def function(
        self, method: str, path: str, query: str, headers: Mapping[str, str], *, account: str, region: str
    ) -> FunctionArn | None:
        """Whom a request of this account invokes; None where it is no such invoke, or one that must be refused."""
        if method != "POST" or query or not self._parameters.isdisjoint(headers):
            return None
        if headers.get("content-type", "").lower().startswith(OTHER_MEDIA):
            return None
        return self._named(path, account, region)

    def _read(self, path: str, account: str, region: str) -> FunctionArn | None:
        try:
            operation, labels = self._service.route("POST", path, "", {}, b"")
            if operation.name != "Invoke":
                return None
            parameters = operation.parse(labels, "", {}, b"")
            return InvokeCall(
                parameters=parameters, headers={}, account=account, region=region, request_id=""
            ).function()
        except ApiError:
            return None
