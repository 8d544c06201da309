"""The AWS SDK for JavaScript, unmodified: as somebody's client of the service, and inside a function."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lambent.testing.service import RunningService, deploy, make_zip, running_service
from lambent.worker.runtimes import discover

PACKAGES = Path(__file__).parents[1] / "npm"
NODE = next((one for one in discover() if one.language == "nodejs" and one.release >= (20,)), None)

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="real sandboxes are tested as root"),
    pytest.mark.skipif(NODE is None, reason="no Node.js 20 or newer on this host"),
    pytest.mark.skipif(
        not (PACKAGES / "node_modules/@aws-sdk").is_dir(), reason="no packages: npm ci --prefix tests/npm"
    ),
]

GREETS = """
export const handler = awslambda.streamifyResponse(async (event, stream) => {
  stream.write('"Hello, ');
  stream.end(`${event.to}"`);
});
"""
CALLS = """
import { InvokeCommand, LambdaClient } from '@aws-sdk/client-lambda';
const client = new LambdaClient({});
export const handler = async (FunctionName) => {
  const { Payload } = await client.send(new InvokeCommand({ FunctionName, Payload: '{"to": "you"}' }));
  return Buffer.from(Payload).toString();
};
"""


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A server whose functions have no network."""
    with running_service(tmp_path_factory.mktemp("sdk") / "data", "--egress", "none") as service:
        yield service


def test_a_program_creates_invokes_streams_lists_and_deletes(service: RunningService, tmp_path: Path) -> None:
    assert NODE is not None
    package = tmp_path / "greets.zip"
    package.write_bytes(make_zip({"index.mjs": GREETS}))

    done = subprocess.run(
        [NODE.executable, "--no-warnings", PACKAGES / "drive.mjs", "sdk-for-javascript", NODE.runtime, package],
        env={**service.environment(), "AWS_REGION": "us-east-1"},
        capture_output=True,
        text=True,
        timeout=100,
    )

    assert done.returncode == 0, done.stderr
    hello, *pieces, missing, is_time, state, count, deleted = map(json.loads, done.stdout.splitlines())
    assert hello == "Hello, Ångström"
    assert ("".join(pieces[:-1]), pieces[-1]) == ('"Hello, all"', {})
    absent = "Function not found: arn:aws:lambda:us-east-1:000000000000:function:none:$LATEST"
    assert missing == [True, 404, "User", absent]
    assert (is_time, state, count, deleted) == (True, "Active", 1, 204)


def test_a_function_finds_it_in_a_layer_and_reaches_the_service_without_a_network(closed: RunningService) -> None:
    assert NODE is not None
    client: Any = closed.client()
    modules = PACKAGES / "node_modules"
    scopes = [modules / name for name in ("@aws", "@aws-sdk", "@smithy", "bowser", "tslib")]
    files = [file for scope in scopes for file in scope.rglob("*") if file.is_file()]
    layer = make_zip({f"nodejs/{file.relative_to(PACKAGES)}": file.read_bytes() for file in files})
    arn = client.publish_layer_version(LayerName="sdk", Content={"ZipFile": layer})["LayerVersionArn"]
    settings = {"Runtime": NODE.runtime, "Handler": "index.handler", "MemorySize": 1024, "Timeout": 60}
    deploy(client, "greets", {"index.mjs": GREETS}, **settings)
    deploy(client, "calls", {"index.mjs": CALLS}, Layers=[arn], **settings)

    answer = client.invoke(FunctionName="calls", Payload=json.dumps("greets"))

    assert json.load(answer["Payload"]) == '"Hello, you"'
