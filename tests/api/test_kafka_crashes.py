"""Kafka while functions are killed at random and the server twice: nothing is lost, overtaken or committed too early.

LAMBENT_KAFKA_CRASH_RECORDS says how many records; 100000 takes minutes.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from kafka_servers import ApacheKafka, make_topic
from lambent.testing.service import deploy, start_service

RECORDS = int(os.environ.get("LAMBENT_KAFKA_CRASH_RECORDS", "1200"))
PARTITIONS = 6
DEADLINE_S = 30 + RECORDS / 50
TOPIC = "crashes"

CODE = """
import json, os, random, signal, urllib.request
chance = random.SystemRandom()
def die_perhaps():
    if chance.random() < 0.03:
        os.kill(os.getpid(), signal.SIGKILL)
def handler(event, context):
    ((shard, records),) = event["records"].items()
    die_perhaps()
    done = {"partition": records[0]["partition"], "offsets": [record["offset"] for record in records]}
    url = os.environ["AWS_ENDPOINT_URL"] + "/done"
    headers = {"Content-Type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(url, json.dumps(done).encode(), headers, method="PUT")).close()
    die_perhaps()
"""


class Ledger:
    """What functions have done, in the order they did it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.next = dict.fromkeys(range(PARTITIONS), 0)
        """By partition the first offset that is not done."""
        self.times = 0
        self.out_of_order: list[tuple[int, int, int]] = []

    @property
    def done(self) -> int:
        return sum(self.next.values())

    def write(self, partition: int, offsets: list[int]) -> None:
        with self._lock:
            self.times += len(offsets)
            for offset in offsets:
                if offset > self.next[partition]:
                    self.out_of_order.append((partition, self.next[partition], offset))
                self.next[partition] = max(self.next[partition], offset + 1)


@pytest.fixture
def ledger() -> Iterator[tuple[Ledger, str]]:
    """A ledger, and where functions write to it."""
    book = Ledger()

    class Writer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            book.write(told["partition"], told["offsets"])
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Writer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield book, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


class Auditor(threading.Thread):
    """Compares what the group has committed with what is done, again and again."""

    def __init__(self, server: str, group: str, book: Ledger) -> None:
        super().__init__()
        self._server = server
        self._group = group
        self._book = book
        self._is_over = threading.Event()
        self.committed: dict[int, int] = {}
        self.looks = 0
        self.ahead: list[tuple[int, int, int]] = []

    def run(self) -> None:
        asyncio.run(self._look())

    def end(self) -> None:
        self._is_over.set()
        self.join()

    async def _look(self) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._server)
        await admin.start()
        partitions = [TopicPartition(TOPIC, number) for number in range(PARTITIONS)]
        while not self._is_over.wait(0.05):
            try:
                offsets = await admin.list_consumer_group_offsets(self._group, partitions=partitions)
            except GroupCoordinatorNotAvailableError:  # the first group has not been yet
                continue
            self.looks += 1
            for partition, one in offsets.items():
                self.committed[partition.partition] = one.offset
                if one.offset > self._book.next[partition.partition]:
                    self.ahead.append((partition.partition, one.offset, self._book.next[partition.partition]))
        await admin.close()


async def fill(server: str) -> None:
    await make_topic(server, TOPIC, PARTITIONS)
    producer = AIOKafkaProducer(bootstrap_servers=server, linger_ms=20)
    await producer.start()
    for number in range(RECORDS):
        await producer.send(TOPIC, b"record %d" % number, partition=number % PARTITIONS)
    await producer.stop()


def until(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not look():
        assert time.monotonic() < deadline, "it has not come to be"
        time.sleep(0.05)


@pytest.mark.timeout(120 + 2 * DEADLINE_S)
def test_no_record_is_lost_or_overtaken_or_committed_before_it_is_done(
    kafka: ApacheKafka, ledger: tuple[Ledger, str], tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("real sandboxes are tested as root")
    book, url = ledger
    asyncio.run(fill(kafka.plaintext))
    service = start_service(tmp_path / "data", "--egress", "none", "--endpoint", f"s3={url}")
    try:
        client = service.client("lambda")
        deploy(client, "crashes", CODE, MemorySize=128)
        uuid = client.create_event_source_mapping(
            FunctionName="crashes",
            SelfManagedEventSource={"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": [kafka.plaintext]}},
            SourceAccessConfigurations=[{"Type": "VPC_SUBNET", "URI": "subnet:subnet-1"}],
            Topics=[TOPIC],
            StartingPosition="TRIM_HORIZON",
            BatchSize=max(10, RECORDS // 1_000),
        )["UUID"]
        auditor = Auditor(kafka.plaintext, uuid, book)
        auditor.start()
        began = time.monotonic()
        try:
            for part in (1, 2):
                until(lambda part=part: book.done >= part * RECORDS // 3)  # type: ignore[misc]
                service.kill()
                service = start_service(tmp_path / "data", "--egress", "none", "--endpoint", f"s3={url}")
            until(lambda: book.done == RECORDS)
            took_s = time.monotonic() - began
            until(lambda: sum(auditor.committed.values()) == RECORDS)
        finally:
            auditor.end()
    finally:
        service.stop()
    print(f"{RECORDS} records in {took_s:.1f} s; done again: {book.times - RECORDS}; looks at offsets: {auditor.looks}")
    assert book.out_of_order == []
    assert auditor.ahead == []
