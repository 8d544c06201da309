"""Web applications behind function URLs, unmodified: the examples, with their packages from PyPI."""

from __future__ import annotations

import http.client
import http.cookies
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from function_url import Ask, public_url
from lambent.testing.packages import vendored
from lambent.testing.service import deploy, make_zip

EXAMPLES = Path(__file__).parents[2] / "examples"
RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"


def application(client: Any, example: str) -> Iterator[Ask]:
    folder = EXAMPLES / example
    packages = vendored(*(folder / "requirements.txt").read_text().split())
    package = make_zip({**packages, "app.py": (folder / "app.py").read_text()})
    deploy(client, example, package, Runtime=RUNTIME, Timeout=30, MemorySize=512)
    with public_url(client, example) as ask:
        yield ask
    client.delete_function(FunctionName=example)


@pytest.fixture(scope="module")
def fastapi(client: Any) -> Iterator[Ask]:
    yield from application(client, "fastapi-mangum")


@pytest.fixture(scope="module")
def flask(client: Any) -> Iterator[Ask]:
    yield from application(client, "flask-wsgi")


def cookies(response: http.client.HTTPResponse) -> dict[str, str]:
    jar: http.cookies.SimpleCookie = http.cookies.SimpleCookie()
    for value in response.headers.get_all("set-cookie") or ():
        jar.load(value)
    return {name: morsel.value for name, morsel in jar.items()}


def test_fastapi_answers_through_mangum(fastapi: Ask) -> None:
    index: Any = fastapi("GET", "/?name=%C3%A9va")
    assert json.loads(index.body) == {"hello": "éva", "path": "/"}

    created: Any = fastapi("POST", "/items", b'{"name": "pear", "price": 1.5}', {"content-type": "application/json"})
    assert (created.status, json.loads(created.body)) == (201, {"name": "pear", "price": 1.5})
    assert cookies(created) == {"last": "pear", "count": "1"}

    last: Any = fastapi("GET", "/items/last", headers={"cookie": "last=pear; other=1"})
    assert json.loads(last.body) == {"last": "pear"}

    invalid: Any = fastapi("POST", "/items", b"{}", {"content-type": "application/json"})
    assert invalid.status == 422

    digest: Any = fastapi("PUT", "/digest", bytes(range(256)), {"content-type": "application/octet-stream"})
    assert digest.body == bytes(reversed(range(256)))
    assert digest.headers["content-type"] == "application/octet-stream"


def test_flask_answers_through_serverless_wsgi(flask: Ask) -> None:
    index: Any = flask("GET", "/?name=Ada")
    assert index.body == b"<h1>Hello, Ada!</h1>"
    assert index.headers["content-type"] == "text/html; charset=utf-8"

    form: Any = flask("POST", "/form", b"a=1&b=%C3%A9", {"content-type": "application/x-www-form-urlencoded"})
    assert json.loads(form.body) == {"a": "1", "b": "é"}
    assert cookies(form) == {"seen": "yes", "twice": "yes"}

    sent: Any = flask("GET", "/cookies", headers={"cookie": "a=1; b=2"})
    assert json.loads(sent.body) == {"a": "1", "b": "2"}

    old: Any = flask("GET", "/old")
    assert (old.status, old.headers["location"]) == (302, "/")

    assert flask("GET", "/nowhere").status == 404
