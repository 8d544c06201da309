"""Queues and streams are asked for before a mapping of them is made, when the server knows where they are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lambent.testing.service import deploy, start_service

ARN = "arn:aws:{}:us-east-1:123456789012:{}"
STREAM, TABLE = ARN.format("kinesis", "stream/absent"), ARN.format("dynamodb", "table/absent/stream/2024")


@pytest.fixture(scope="module")
def client(moto: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if os.geteuid() != 0:
        pytest.skip("real sandboxes are tested as root")
    data_dir = tmp_path_factory.mktemp("asked") / "data"
    with pytest.MonkeyPatch.context() as patch:  # moto tells services by what a request is signed for
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        running = start_service(data_dir, "--egress", "none", "--endpoint", f"*={moto}")
    try:
        client = running.client("lambda")
        deploy(client, "slow", "def handler(event, context): ...", Timeout=60)
        yield client
    finally:
        running.stop()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            {"EventSourceArn": ARN.format("sqs", "absent")},
            "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. "
            "SQS Error Message: The specified queue does not exist.",
        ),
        ({"EventSourceArn": STREAM, "StartingPosition": "LATEST"}, f"Stream not found: {STREAM}"),
        ({"EventSourceArn": TABLE, "StartingPosition": "LATEST"}, f"Stream not found: {TABLE}"),
        (
            {"EventSourceArn": ARN.format("sqs", "quick")},
            "Queue visibility timeout: 30 seconds is less than Function timeout: 60 seconds",
        ),
    ],
)
def test_a_source_that_cannot_be_read_is_refused(client: Any, peer: Any, source: dict[str, Any], message: str) -> None:
    peer("sqs").create_queue(QueueName="quick")

    with pytest.raises(ClientError) as refused:
        client.create_event_source_mapping(FunctionName="slow", **source)

    response: Any = refused.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert response["Error"] == {"Code": "InvalidParameterValueException", "Message": message}
