"""What several folders of tests share: one running service for the whole run, and clients of it."""

from __future__ import annotations

import itertools
import json
import os
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

import rabbitmq_server
from collector import Collector, collecting
from kafka_servers import ApacheKafka, apache_kafka, make_topic, mock_kafka, name_topic
from lambent import compiled
from lambent.testing.service import RunningService, deploy, running_service
from server_programs import or_skip

compiled.use()  # what is tested is what runs

# A busy machine is no failure: hypothesis takes an example of more than 200 ms for one.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    if os.geteuid() != 0:
        pytest.skip("real sandboxes are tested as root")
    with running_service(tmp_path_factory.mktemp("service") / "data", "--egress", "none") as running:
        yield running


@pytest.fixture(scope="session")
def client(service: RunningService) -> Any:
    return service.client("lambda")


@pytest.fixture(scope="session")
def logs(service: RunningService) -> Any:
    return service.client("logs")


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """The URL of what answers as AWS's services do."""
    from moto_server import moto_server  # few tests want it, and importing it takes as long as some of them

    with moto_server() as url:
        yield url


@pytest.fixture(scope="module")
def peer(moto: str) -> Callable[..., Any]:
    """Makes clients of moto: of a service, in a region."""
    from moto_server import moto_client

    return lambda service, region="us-east-1": moto_client(service, moto, region)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    """Apache Kafka, for the whole run."""
    with or_skip("Apache Kafka"), apache_kafka(tmp_path_factory.mktemp("kafka")) as running:
        yield running


@pytest.fixture(scope="session", params=["Apache Kafka", "librdkafka's mock"])
def any_kafka(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a server without authentication. Its topics are to have 4 partitions."""
    if request.param == "Apache Kafka":
        yield request.getfixturevalue("kafka").plaintext
    else:
        with mock_kafka() as address:
            yield address


@pytest.fixture
async def topic(any_kafka: str, request: pytest.FixtureRequest) -> str:
    """A topic of `any_kafka` that is empty."""
    name = f"topic-{next(_numbers)}"
    if "mock" in request.node.callspec.params["any_kafka"]:
        await name_topic(any_kafka, name)
    else:
        await make_topic(any_kafka, name, 4)
    return name


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rabbitmq_server.RabbitMq]:
    """RabbitMQ, for the whole run."""
    with or_skip("RabbitMQ"), rabbitmq_server.rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as running:
        yield running


_numbers = itertools.count()


@pytest.fixture
def function(client: Any) -> Iterator[Callable[..., str]]:
    """Deploys functions under names of their own, and deletes them after the test."""
    names: list[str] = []

    def make(code: str | bytes | Mapping[str, str | bytes], **parameters: Any) -> str:
        names.append(f"test-{next(_numbers)}")
        return deploy(client, names[-1], code, **parameters)

    yield make
    for name in names:
        client.delete_function(FunctionName=name)


@pytest.fixture
def invoke(client: Any) -> Callable[..., tuple[Any, dict[str, Any]]]:
    """Invokes a function; returns the parsed payload and the whole response."""

    def call(name: str, event: Any = None, **parameters: Any) -> tuple[Any, dict[str, Any]]:
        response = client.invoke(FunctionName=name, Payload=json.dumps(event), **parameters)
        return json.loads(response["Payload"].read() or "null"), response

    return call


@pytest.fixture
def settled(service: RunningService) -> Callable[[], None]:
    """Waits until no environment is busy, be it with its own end or a reset: who comes before gets another one."""

    def wait() -> None:
        deadline = time.monotonic() + 60
        while True:
            with urllib.request.urlopen(f"{service.endpoint_url}/_lambent/environments") as answer:
                if json.load(answer)["busy"] == 0:
                    return
            assert time.monotonic() < deadline
            time.sleep(0.05)

    return wait
