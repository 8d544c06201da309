"""ElasticMQ, DynamoDB Local and Kinesis Mock: as processes of their own, with groups and shards as AWS has them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from server_programs import ServerProgram, free_ports, jars, node_package, program

ELASTICMQ = "org.elasticmq:elasticmq-server_2.13:1.7.1"
DYNAMODB_LOCAL = "com.amazonaws:DynamoDBLocal:2.6.1"
KINESIS_MOCK_VERSION = "0.6.2"
_SMALL = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_ELASTICMQ_CONFIGURATION = """
include classpath("application.conf")
node-address {{ protocol = http, host = "127.0.0.1", port = {port}, context-path = "" }}
rest-sqs {{ enabled = true, bind-port = {port}, bind-hostname = "127.0.0.1", sqs-limits = strict }}
rest-stats {{ enabled = false }}
aws {{ region = us-east-1, accountId = 000000000000 }}
"""


@contextmanager
def elasticmq(directory: Path) -> Iterator[str]:
    """Its URL. Raises Absent."""
    (port,) = free_ports(1)
    configuration = directory / "elasticmq.conf"
    configuration.write_text(_ELASTICMQ_CONFIGURATION.format(port=port))
    options = [*_SMALL, f"-Dconfig.file={configuration}", "-cp", f"{jars(ELASTICMQ)}/*"]
    command = [program("java"), *options, "org.elasticmq.server.Main"]
    server = ServerProgram(name="ElasticMQ", command=command, port=port, log=directory / "elasticmq.log")
    with server:
        yield f"http://127.0.0.1:{port}"


@contextmanager
def dynamodb_local(directory: Path) -> Iterator[str]:
    """Its URL. Raises Absent."""
    (port,) = free_ports(1)
    needed = jars(DYNAMODB_LOCAL)
    options = [*_SMALL, f"-Djava.library.path={needed}", "-cp", f"{needed}/*"]
    main = "com.amazonaws.services.dynamodbv2.local.main.ServerRunner"
    command = [program("java"), *options, main, "-inMemory", "-disableTelemetry", "-port", str(port)]
    server = ServerProgram(name="DynamoDB Local", command=command, port=port, log=directory / "dynamodb.log")
    with server:
        yield f"http://127.0.0.1:{port}"


@contextmanager
def kinesis_mock(directory: Path) -> Iterator[str]:
    """Its URL. Raises Absent."""
    port, tls_port = free_ports(2)
    package = node_package("kinesis-local", KINESIS_MOCK_VERSION)
    settings = {
        "KINESIS_MOCK_PLAIN_PORT": str(port),
        "KINESIS_MOCK_TLS_PORT": str(tls_port),
        "AWS_ACCOUNT_ID": "000000000000",
        "AWS_REGION": "us-east-1",
        "LOG_LEVEL": "ERROR",
        **{f"{action}_DURATION": "50ms" for action in ("CREATE_STREAM", "SPLIT_SHARD", "MERGE_SHARDS")},
    }
    command = [program("sh"), "-c", f"cd {package} && exec {program('node')} main.js"]  # its certificate lies there
    server = ServerProgram(
        name="Kinesis Mock", command=command, port=port, log=directory / "kinesis.log", environment=settings
    )
    with server:
        yield f"http://127.0.0.1:{port}"
