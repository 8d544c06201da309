"""What several folders of tests share: one running service for the whole run, and clients of it."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from lambent.testing.service import RunningService, deploy, running_service


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
