"""A function behind a public URL, as its callers meet it."""

from __future__ import annotations

import http.client
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

Ask = Callable[..., http.client.HTTPResponse]
"""Sends method, path, body and headers, by one connection; the answer has a `body`, read whole."""


def open_to_all(client: Any, name: str) -> None:
    """What the policy of a function must say for a URL of `AuthType` NONE to let everybody in."""
    permission = {"FunctionName": name, "Principal": "*"}
    client.add_permission(
        StatementId="url", Action="lambda:InvokeFunctionUrl", FunctionUrlAuthType="NONE", **permission
    )
    client.add_permission(
        StatementId="invoke", Action="lambda:InvokeFunction", InvokedViaFunctionUrl=True, **permission
    )


@contextmanager
def public_url(client: Any, name: str, **config: Any) -> Iterator[Ask]:
    """A URL of a function that is there."""
    url = client.create_function_url_config(FunctionName=name, AuthType="NONE", **config)["FunctionUrl"]
    open_to_all(client, name)
    host = urllib.parse.urlsplit(url).netloc
    connection = http.client.HTTPConnection("127.0.0.1", int(host.rpartition(":")[2]), timeout=60)

    def ask(
        method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> http.client.HTTPResponse:
        connection.request(method, path, body, {"host": host, **(headers or {})})
        response = connection.getresponse()
        response.body = response.read()  # type: ignore[attr-defined]
        return response

    try:
        yield ask
    finally:
        connection.close()
