"""Kafka for tests: Apache's own where there are Java and Maven, and librdkafka's mock cluster everywhere."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from certificates import Certificates
from server_programs import ServerProgram, free_ports, jars, program

ARTIFACT = "org.apache.kafka:kafka_2.13:4.1.0"
USER, PASSWORD = "reader", "secret-of-the-reader"
_CLUSTER_ID = "4L6g3nShT-eMCtK--X86sw"


@dataclass(slots=True, kw_only=True)
class ApacheKafka(ServerProgram):
    """A broker of its own on loopback, one listener for each way to speak to it."""

    plaintext: str
    sasl_plaintext: str
    sasl_tls: str
    client_tls: str
    certificates: Certificates


@contextmanager
def apache_kafka(directory: Path) -> Iterator[ApacheKafka]:
    """Raises Absent."""
    java, classes = program("java"), ["-cp", f"{jars(ARTIFACT)}/*"]
    directory.mkdir(parents=True, exist_ok=True)
    certificates = Certificates.make(directory / "certificates")
    ports = free_ports(5)
    plaintext, sasl_plaintext, sasl_tls, client_tls = (f"127.0.0.1:{port}" for port in ports[:4])
    properties = directory / "server.properties"
    properties.write_text(_properties(directory, ports, certificates))
    scram = [f"SCRAM-SHA-{bits}=[name={USER},password={PASSWORD}]" for bits in (256, 512)]
    formatting = [java, *classes, "kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID]
    subprocess.run(
        [*formatting, "-c", str(properties), *(word for one in scram for word in ("--add-scram", one))],
        check=True,
        capture_output=True,
    )
    small = ["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    kafka = ApacheKafka(
        name="Apache Kafka",
        command=[java, *small, *classes, "kafka.Kafka", str(properties)],
        port=ports[3],
        log=directory / "kafka.log",
        plaintext=plaintext,
        sasl_plaintext=sasl_plaintext,
        sasl_tls=sasl_tls,
        client_tls=client_tls,
        certificates=certificates,
    )
    with kafka:
        yield kafka


def _properties(directory: Path, ports: list[int], certificates: Certificates) -> str:
    names = ("PLAIN", "LOGIN", "LOGINTLS", "TLS", "CONTROLLER")
    listeners = ",".join(f"{name}://127.0.0.1:{port}" for name, port in zip(names, ports, strict=True))
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    plain = (
        "org.apache.kafka.common.security.plain.PlainLoginModule required "
        f'username="{USER}" password="{PASSWORD}" user_{USER}="{PASSWORD}";'
    )
    login = "\n".join(
        f"listener.name.{name}.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n"
        f"listener.name.{name}.plain.sasl.jaas.config={plain}\n"
        f"listener.name.{name}.scram-sha-256.sasl.jaas.config={scram}\n"
        f"listener.name.{name}.scram-sha-512.sasl.jaas.config={scram}"
        for name in ("login", "logintls")
    )
    return f"""
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{ports[4]}
listeners={listeners}
listener.security.protocol.map=PLAIN:PLAINTEXT,LOGIN:SASL_PLAINTEXT,LOGINTLS:SASL_SSL,TLS:SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAIN
controller.listener.names=CONTROLLER
log.dirs={directory}/logs
num.partitions=1
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
ssl.keystore.type=PEM
ssl.keystore.location={certificates.server_store}
ssl.truststore.type=PEM
ssl.truststore.location={certificates.authority_file}
listener.name.tls.ssl.client.auth=required
{login}
"""


@contextmanager
def mock_kafka() -> Iterator[str]:
    """The address of a broker; a topic that is named has 4 partitions."""
    command = [sys.executable, str(Path(__file__).with_name("mock_kafka.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


async def make_topic(server: str, topic: str, partitions: int = 1) -> None:
    """Return once each partition has a leader."""
    admin = AIOKafkaAdminClient(bootstrap_servers=server)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, partitions, 1)])
        async with asyncio.timeout(30):
            while True:
                (told,) = await admin.describe_topics([topic])
                if len(told["partitions"]) == partitions and all(one["leader"] >= 0 for one in told["partitions"]):
                    return
                await asyncio.sleep(0.05)
    finally:
        await admin.close()


async def name_topic(server: str, topic: str) -> None:
    """Make it in a mock cluster."""
    producer = AIOKafkaProducer(bootstrap_servers=server)
    await producer.start()
    try:
        await producer.partitions_for(topic)
    finally:
        await producer.stop()


async def put(
    server: str, topic: str, values: Sequence[bytes], *, partition: int = 0, compression: str | None = None
) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=server, linger_ms=5, compression_type=compression)
    await producer.start()
    try:
        for sent in [await producer.send(topic, value, partition=partition) for value in values]:
            await sent
    finally:
        await producer.stop()
