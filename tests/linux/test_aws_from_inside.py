"""A function without any network uses AWS's services: Lambent's own, and those that the operator has named."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from lambent.testing.service import RunningService, deploy, running_service
from moto_server import moto_client, moto_server

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="real sandboxes are tested as root")

MIB = 1024 * 1024
SIZE_MIB = int(os.environ.get("LAMBENT_PASSED_ON_MIB", "24"))
"""How much goes through the endpoint each way."""

PUT_AND_GET = """
import boto3, hashlib, io

class Made(io.RawIOBase):
    # A body of so many MiB that is never whole in memory.
    def __init__(self, mib):
        self.size, self.at = mib << 20, 0
    def readable(self): return True
    def seekable(self): return True
    def tell(self): return self.at
    def seek(self, offset, whence=0):
        self.at = offset + (0, self.at, self.size)[whence]
        return self.at
    def read(self, size=-1):
        size = self.size - self.at if size < 0 else min(size, self.size - self.at)
        self.at += size
        return bytes(size)

def handler(event, context):
    s3 = boto3.client("s3")
    s3.put_object(Bucket="bucket", Key="large", Body=Made(event["mib"]))
    digest, size = hashlib.sha256(), 0
    for chunk in s3.get_object(Bucket="bucket", Key="large")["Body"].iter_chunks(1 << 20):
        digest.update(chunk)
        size += len(chunk)
    return {"size": size, "is_same": digest.digest() == hashlib.sha256(bytes(size)).digest()}
"""

ASK = """
import boto3, json

def handler(event, context):
    if event == "sqs":
        try:
            boto3.client("sqs").list_queues()
        except Exception as error:
            return error.response["Error"]
    names = [one["FunctionName"] for one in boto3.client("lambda").list_functions()["Functions"]]
    boto3.client("logs").describe_log_groups()
    answer = boto3.client("lambda").invoke(FunctionName=event, Payload=b'"hello"')
    return {
        "who": boto3.client("sts").get_caller_identity()["Arn"],
        "lists_itself": context.function_name in names,
        "answer": json.loads(answer["Payload"].read()),
    }
"""
ECHO = "def handler(event, context):\n    return event\n"


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """A store that holds a bucket."""
    with moto_server() as url:
        moto_client("s3", url).create_bucket(Bucket="bucket")
        yield url


@pytest.fixture(scope="module")
def isolated(moto: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    data_dir = tmp_path_factory.mktemp("inside") / "data"
    with running_service(data_dir, "--egress", "none", "--endpoint", f"s3={moto}") as service:
        yield service


def test_a_function_without_network_puts_and_gets_more_than_the_server_holds(isolated: RunningService) -> None:
    client = isolated.client()
    deploy(client, "large", PUT_AND_GET, MemorySize=512, Timeout=300)
    server = psutil.Process(isolated.process.pid)
    client.invoke(FunctionName="large", Payload=b'{"mib": 1}')
    before_bytes = server.memory_info().rss
    answer = client.invoke(FunctionName="large", Payload=b'{"mib": %d}' % SIZE_MIB)

    assert answer["Payload"].read() == b'{"size": %d, "is_same": true}' % (SIZE_MIB * MIB)
    assert server.memory_info().rss - before_bytes < 16 * MIB


def test_a_function_without_network_uses_lambda_logs_and_sts(
    function: Callable[..., str], invoke: Callable[..., Any]
) -> None:
    echo = function(ECHO)
    asking = function(ASK, MemorySize=256, Timeout=30)

    found, _ = invoke(asking, echo)
    assert found == {
        "who": f"arn:aws:sts::000000000000:assumed-role/lambda-role/{asking}",
        "lists_itself": True,
        "answer": "hello",
    }


def test_a_service_that_nobody_has_named_says_so(function: Callable[..., str], invoke: Callable[..., Any]) -> None:
    found, _ = invoke(function(ASK, MemorySize=256, Timeout=30), "sqs")

    assert found["Code"] == "EndpointNotConfigured"
    assert "--endpoint sqs=URL" in found["Message"]
