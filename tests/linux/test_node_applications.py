"""Packages from npm inside Node.js functions, unmodified: Express behind a function URL, and middy around a handler."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from function_url import Ask, public_url
from lambent.testing.service import deploy, make_zip
from lambent.worker.runtimes import discover

EXAMPLES = Path(__file__).parents[2] / "examples"
PACKAGES = Path(__file__).parents[1] / "npm"
JSON = {"content-type": "application/json"}
NODE = next((one for one in discover() if one.language == "nodejs" and one.release >= (20,)), None)

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="real sandboxes are tested as root"),
    pytest.mark.skipif(NODE is None, reason="no Node.js 20 or newer on this host"),
    pytest.mark.skipif(not (PACKAGES / "node_modules").is_dir(), reason="no packages: npm ci --prefix tests/npm"),
]


def package(files: Mapping[str, str]) -> bytes:
    folders = [one for one in (PACKAGES / "node_modules").iterdir() if one.name not in ("@aws", "@aws-sdk", "@smithy")]
    found = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    modules = {str(file.relative_to(PACKAGES)): file.read_bytes() for file in found}
    return make_zip({**modules, **files})


@pytest.fixture(scope="module")
def express(client: Any) -> Iterator[Ask]:
    assert NODE is not None
    code = package({"index.mjs": (EXAMPLES / "express/index.mjs").read_text()})
    deploy(client, "express", code, Runtime=NODE.runtime, Handler="index.handler", Timeout=30, MemorySize=512)
    with public_url(client, "express") as ask:
        yield ask
    client.delete_function(FunctionName="express")


def test_express_answers_through_serverless_express(express: Ask) -> None:
    index: Any = express("GET", "/?name=Ada")
    assert (index.status, index.body) == (200, b"<h1>Hello, Ada!</h1>")
    assert index.headers["content-type"] == "text/html; charset=utf-8"

    created: Any = express("POST", "/items", '{"name": "pêche"}'.encode(), JSON)
    assert (created.status, json.loads(created.body)) == (201, {"name": "pêche"})
    assert created.headers.get_all("set-cookie") == ["last=p%C3%AAche; Path=/", "count=1; Path=/"]

    form: Any = express("POST", "/items", b"name=a+b", {"content-type": "application/x-www-form-urlencoded"})
    assert json.loads(form.body) == {"name": "a b"}

    digest: Any = express("PUT", "/digest", bytes(range(256)), {"content-type": "application/octet-stream"})
    assert digest.body == bytes(reversed(range(256)))

    old: Any = express("GET", "/old")
    assert (old.status, old.headers["location"]) == (302, "/")

    absent: Any = express("GET", "/nowhere")
    assert (absent.status, json.loads(absent.body)) == (404, {"message": "no /nowhere here"})


MIDDY = """
import middy from '@middy/core';

const notes = [];
const watch = {
  before: (request) => { request.event.seen = true; },
  after: (request) => { request.response.notes = notes.splice(0); },
  onError: (request) => { request.response = { caught: request.error.message, name: request.context.functionName }; },
};
export const handler = middy(async (event, context, { signal }) => {
  notes.push(typeof signal.aborted);
  if (event.fail) throw new Error('on purpose');
  return { event };
}).use(watch);
"""
MIDDY_STREAM = """
import middy from '@middy/core';

export const handler = middy({ streamifyResponse: true }).handler(async () => ({
  statusCode: 202, headers: { 'content-type': 'text/plain' }, body: 'streamed by middy',
}));
"""


def test_middy_runs_its_middleware_around_a_handler(client: Any) -> None:
    assert NODE is not None
    deploy(client, "middy", package({"index.mjs": MIDDY}), Runtime=NODE.runtime, Handler="index.handler", Timeout=10)
    try:
        answers = [
            json.loads(client.invoke(FunctionName="middy", Payload=event)["Payload"].read())
            for event in (b'{"a": 1}', b'{"fail": true}')
        ]
    finally:
        client.delete_function(FunctionName="middy")

    assert answers == [
        {"event": {"a": 1, "seen": True}, "notes": ["boolean"]},
        {"caught": "on purpose", "name": "middy"},
    ]


def test_middy_streams(client: Any) -> None:
    assert NODE is not None
    code = package({"index.mjs": MIDDY_STREAM})
    deploy(client, "middy-stream", code, Runtime=NODE.runtime, Handler="index.handler", Timeout=10)
    try:
        events = list(client.invoke_with_response_stream(FunctionName="middy-stream", Payload=b"{}")["EventStream"])
    finally:
        client.delete_function(FunctionName="middy-stream")
    body = b"".join(event["PayloadChunk"]["Payload"] for event in events if "PayloadChunk" in event)

    assert body.endswith(b"streamed by middy")
