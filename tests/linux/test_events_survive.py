"""Events from many clients while the server is killed and started again: every one that got its 202 is told of.

Sizes are of the environment: LAMBENT_CRASH_EVENTS (how many are accepted) and LAMBENT_CRASH_KILLS.
"""

from __future__ import annotations

import asyncio
import http.client
import http.server
import itertools
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import pytest

from lambent.adapters.sqlite.event_queue import SqliteEventQueue
from lambent.testing.service import RunningService, deploy, start_service

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="real sandboxes are tested as root")

EVENTS = int(os.environ.get("LAMBENT_CRASH_EVENTS", "600"))
KILLS = int(os.environ.get("LAMBENT_CRASH_KILLS", "3"))
CLIENTS = 32
DEADLINE_S = 60
UNDER_WAY = 64
"""How many messages may have been taken by the target, and not yet be done for the server, when it is killed."""

CODE = """
def handler(event, context):
    if event["n"] % 10 == 0:
        raise ValueError("boom")
    return event["n"]
"""
QUEUE = "arn:aws:sqs:us-east-1:000000000000:told"


class Queue(http.server.BaseHTTPRequestHandler):
    """As much of SQS as takes messages: who was told of, by the event's number."""

    told: ClassVar[Counter[int]] = Counter()
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["content-length"])))
        record = json.loads(sent["MessageBody"])
        self.told[record["requestPayload"]["n"]] += 1
        answer = b'{"MessageId":"1"}'
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None: ...


class QueueServer(http.server.ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A killed client hangs up in the middle of things."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    Queue.told = Counter()
    with QueueServer(("127.0.0.1", 0), Queue) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


class Clients:
    """Send events until enough are accepted, whatever server there is; one that fails is another event's turn."""

    def __init__(self) -> None:
        self.accepted: set[int] = set()
        self.service: RunningService | None = None
        self._numbers = itertools.count()

    def send(self) -> None:
        while len(self.accepted) < EVENTS:
            number = next(self._numbers)
            try:
                if self._post(number) == 202:
                    self.accepted.add(number)
            except (OSError, http.client.HTTPException):
                time.sleep(0.01)

    def _post(self, number: int) -> int:
        assert self.service is not None
        connection = http.client.HTTPConnection("127.0.0.1", int(self.service.endpoint_url.rpartition(":")[2]))
        try:
            connection.request(
                "POST",
                "/2015-03-31/functions/f/invocations",
                body=json.dumps({"n": number}),
                headers={"X-Amz-Invocation-Type": "Event"},
            )
            return connection.getresponse().status
        finally:
            connection.close()


def start(data_dir: Path, endpoint: str) -> RunningService:
    return start_service(data_dir, "--egress", "none", "--endpoint", f"sqs={endpoint}")


@pytest.mark.timeout(3_600)
def test_every_accepted_event_is_told_of_whatever_is_killed_when(tmp_path: Path, endpoint: str) -> None:
    clients = Clients()
    clients.service = start(tmp_path / "data", endpoint)
    try:
        client = clients.service.client()
        deploy(client, "f", CODE)
        told = {"Destination": QUEUE}
        client.put_function_event_invoke_config(
            FunctionName="f", MaximumRetryAttempts=0, DestinationConfig={"OnSuccess": told, "OnFailure": told}
        )
        with ThreadPoolExecutor(CLIENTS) as pool:
            sending = [pool.submit(clients.send) for _ in range(CLIENTS)]
            for kill in range(1, KILLS + 1):
                while len(clients.accepted) < EVENTS * kill // (KILLS + 1):
                    time.sleep(0.005)
                clients.service.kill()
                clients.service = start(tmp_path / "data", endpoint)
            for one in sending:
                one.result()
        deadline = time.monotonic() + DEADLINE_S
        while clients.accepted - Queue.told.keys() and time.monotonic() < deadline:
            time.sleep(0.05)
        lost = clients.accepted - Queue.told.keys()
    finally:
        clients.service.stop()
    duplicates = sum(times - 1 for times in Queue.told.values())
    print(f"\n{len(clients.accepted)} accepted, {KILLS} kills, {len(lost)} lost, {duplicates} told of more than once")
    assert not lost
    assert duplicates <= KILLS * UNDER_WAY
    assert not asyncio.run(waiting(tmp_path / "data" / "events.db"))


async def waiting(path: Path) -> int:
    async with SqliteEventQueue(path) as queue:
        return sum(lane.items for lane in queue.lanes())
