"""Whatever is sent, the answer is AWS-shaped, no fault is ours, and a refusal changes nothing.

A small draw by default; LAMBENT_FUZZ_N=50000 is the acceptance run, another LAMBENT_FUZZ_SEED another draw.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from lambda_wire import Wire, WireAnswer, WireRequest, error_codes, lambda_model, operation_names, wire_request
from request_strategies import FUNCTIONS, ROLE, Request, filled, requests

from lambent.frontend.operations import IMPLEMENTED
from lambent.model.function import function_key
from lambent.testing.service import make_zip, running_service

COUNT = int(os.environ.get("LAMBENT_FUZZ_N", "400"))
SEED = int(os.environ.get("LAMBENT_FUZZ_SEED", "5"))

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="real sandboxes are tested as root"),
    pytest.mark.timeout(120 + COUNT // 5),
]

NAMES = (*sorted(IMPLEMENTED["lambda"]) * 6, *operation_names())
"""What is built is drawn most of the time."""

COMMON = {
    "ValidationException": 400,
    "SerializationException": 400,
    "InvalidRequestContentException": 400,
    "NotImplementedException": 400,
    "AccessDeniedException": 403,
    "UnknownOperationException": 404,
    "RequestEntityTooLargeException": 413,
    "TooManyRequestsException": 429,
}
"""What AWS's framework, or Lambent's refusal by name, may answer to any operation."""

PAYLOADS = frozenset(("Invoke", "InvokeAsync", "InvokeWithResponseStream"))
"""What these answer is the function's."""

UNSETTLED = ("Pending", "InProgress", "IN_PROGRESS", "Creating", "Updating", "Deleting", "Enabling", "Disabling")


@dataclass(slots=True)
class Subject:
    """The server under test, and what has been seen of it."""

    client: Any
    wire: Wire
    store: Path
    log: Path
    codes: Counter[str] = field(default_factory=Counter)
    faults: dict[str, str] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)
    sent: int = 0

    def learn(self, answer: dict[str, Any]) -> None:
        """Keep every text of an answer by its member's name, for later requests to say."""
        for name, value in answer.items():
            if isinstance(value, dict):
                self.learn(value)
            elif isinstance(value, str):
                self.told[name] = value

    def fingerprint(self) -> tuple[int, int]:
        """Changes with every write to the store."""
        with closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)) as connection:
            count, newest = connection.execute("SELECT count(*), max(revision) FROM entries").fetchone()
            return int(count), int(newest or 0)

    def settle(self, timeout_s: float = 20.0) -> None:
        """Wait until what was accepted has been carried out, so that only requests write from then on."""
        deadline = time.monotonic() + timeout_s
        before = None
        while time.monotonic() < deadline:
            now = self.fingerprint()
            if now == before and not self._is_unsettled():
                return
            before = now
            time.sleep(0.01)

    def _is_unsettled(self) -> bool:
        clauses = " OR ".join("instr(value, ?) > 0" for _ in UNSETTLED)
        with closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)) as connection:
            words = [f'"{word}"' for word in UNSETTLED]
            statement = f"SELECT 1 FROM (SELECT * FROM entries ORDER BY revision DESC LIMIT 20) WHERE {clauses} LIMIT 1"
            return connection.execute(statement, words).fetchone() is not None

    def planted(self) -> int:
        keys = [function_key("000000000000", "us-east-1", name) for name in FUNCTIONS]
        with closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)) as connection:
            statement = f"SELECT count(*) FROM entries WHERE key IN ({','.join('?' * len(keys))})"
            return int(connection.execute(statement, keys).fetchone()[0])

    def plant(self) -> None:
        """Make what the requests name, where a request has deleted it."""
        for name in FUNCTIONS:
            try:
                self.client.create_function(
                    FunctionName=name,
                    Runtime="python3.11",
                    Role=ROLE,
                    Handler="app.handler",
                    Code={"ZipFile": make_zip({"app.py": "def handler(event, context): return event\n"})},
                    Publish=True,
                )
                self.settle()
                self.client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
            except botocore.exceptions.ClientError:
                pass  # it is there still


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    data_dir = tmp_path_factory.mktemp("fuzz") / "data"
    with running_service(data_dir, "--egress", "none") as service:
        wire = Wire(service.endpoint_url)
        yield Subject(service.client(), wire, data_dir / "functions.db", service.log)
        wire.close()


@seed(SEED)
@settings(
    max_examples=COUNT,
    deadline=None,
    database=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
@given(request=requests(NAMES))
def check(subject: Subject, request: Request) -> None:
    if subject.sent % 10 == 0 and subject.planted() < len(FUNCTIONS):
        subject.plant()
    operation, members, mangle = request
    wired = wire_request(operation, filled(members, lambda name: subject.told.get(name, name)))
    wired = replace(wired, body=mangle(wired.body))
    before = subject.fingerprint()
    answer = subject.wire.send(wired)
    subject.sent += 1
    subject.codes[answer.code or str(answer.status)] += 1
    try:
        check_answer(operation, wired, answer)
        if answer.status >= 400:
            assert subject.fingerprint() == before, "a refusal has written something"
            return
        if wired.method != "GET":
            subject.settle()
        if operation not in PAYLOADS:
            subject.learn(answer.members)
    except AssertionError as error:
        found = f"{operation}: {error}"
        subject.faults.setdefault(
            found[:200], f"{found[:2_000]}\n  sent {str(members)[:2_000]}\n  got {answer}"[:5_000]
        )


def check_answer(operation: str, wired: WireRequest, answer: WireAnswer) -> None:
    if answer.status < 400:
        assert 200 <= answer.status < 300
        return
    if answer.status == 431:  # the request line is larger than any; no operation has seen it
        return
    assert answer.status < 500, f"a fault of ours: {answer.status}"
    known = {**COMMON, **error_codes(lambda_model().operation_model(operation))}
    # A label that is empty or holds a slash is another path, and so perhaps another operation or none.
    assert answer.code in known or "//" in wired.target, f"{answer.code} is none of {operation}'s errors"
    assert known.get(answer.code, answer.status) == answer.status
    assert answer.headers["content-type"] == "application/json"
    assert "x-amzn-requestid" in answer.headers
    said = answer.members
    assert set(said) & {"message", "Message"}, said
    if "Type" in said:
        assert said["Type"] == "User"


def test_no_request_is_too_strange(subject: Subject) -> None:
    check(subject)

    assert not subject.faults, "\n\n".join(subject.faults.values())
    assert "Traceback" not in subject.log.read_text()
    assert subject.sent >= COUNT
    assert {"200", "201", "ValidationException", "ResourceNotFoundException"} <= set(subject.codes)
