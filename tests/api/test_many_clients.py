"""64 clients change 20 functions, the server is killed under them, and some order explains all that they were told.

A few seconds by default; LAMBENT_MANY_CLIENTS_S=60 is the acceptance run.
"""

from __future__ import annotations

import base64
import http.client
import os
import random
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import control_history as history
import pytest
from control_history import Event
from lambda_wire import Wire, WireAnswer, wire_request

from lambent.testing.service import ROLE, RunningService, make_zip, start_service

SECONDS = float(os.environ.get("LAMBENT_MANY_CLIENTS_S", "4"))
CLIENTS = 64
FUNCTIONS = [f"shared-{number}" for number in range(20)]
ARN = "arn:aws:lambda:us-east-1:000000000000:function:"
CODE = base64.b64encode(make_zip({"app.py": "def handler(event, context): return event\n"})).decode()

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="real sandboxes are tested as root"),
    pytest.mark.timeout(120 + 3 * SECONDS),
]


@dataclass(slots=True)
class Server:
    """The server that clients find: another one after the first was killed."""

    data_dir: Path
    service: RunningService
    is_up: threading.Event = field(default_factory=threading.Event)

    def kill_and_restart(self) -> None:
        self.is_up.clear()
        self.service.kill()
        self.service = start_service(self.data_dir, "--egress", "none")
        self.is_up.set()


class Client:
    """Does this and that to one function after the other, and notes what it was told."""

    def __init__(self, number: int, server: Server, ends_at: float) -> None:
        self.events: list[Event] = []
        self._server = server
        self._ends_at = ends_at
        self._dice = random.Random(number)
        self._tag = f"client-{number}"
        self._number = number
        self._count = 0

    def run(self) -> None:
        actions: list[Callable[[str], None]] = [
            *[self._update] * 8,
            *[self._publish] * 4,
            *[self._tag_it] * 4,
            *[self._alias] * 4,
            *[self._create] * 2,
            self._delete,
        ]
        while time.monotonic() < self._ends_at:
            self._server.is_up.wait()
            wire = Wire(self._server.service.endpoint_url)
            self._send = wire.send
            try:
                while time.monotonic() < self._ends_at:
                    self._dice.choice(actions)(self._dice.choice(FUNCTIONS))
            except (OSError, http.client.HTTPException):  # the server was killed: this request's fate is unknown
                time.sleep(0.05)
            finally:
                wire.close()

    def _create(self, function: str) -> None:
        value = self._next_value()
        self._do(
            "CreateFunction",
            function,
            {
                "FunctionName": function,
                "Runtime": "python3.11",
                "Role": ROLE,
                "Handler": "app.handler",
                "Code": {"ZipFile": CODE},
                "Description": value,
                "Environment": {"Variables": {"INCARNATION": value}},
            },
            incarnation=value,
            value=value,
        )

    def _update(self, function: str) -> None:
        answer = self._do("GetFunctionConfiguration", function, {"FunctionName": function}, read=_configuration)
        if answer.status == 200:
            value, found = self._next_value(), answer.members
            self._do(
                "UpdateFunctionConfiguration",
                function,
                {"FunctionName": function, "Description": value, "RevisionId": found["RevisionId"]},
                incarnation=_incarnation(found),
                revision_id=found["RevisionId"],
                value=value,
            )

    def _publish(self, function: str) -> None:
        self._do("PublishVersion", function, {"FunctionName": function}, read=_published)

    def _tag_it(self, function: str) -> None:
        if self._dice.random() < 0.3:
            self._do("UntagResource", function, {"Resource": ARN + function, "TagKeys": [self._tag]}, key=self._tag)
        else:
            value = self._next_value()
            members = {"Resource": ARN + function, "Tags": {self._tag: value}}
            self._do("TagResource", function, members, key=self._tag, value=value)

    def _alias(self, function: str) -> None:
        alias = {"FunctionName": function, "Name": self._dice.choice(("blue", "green"))}
        version = {"FunctionVersion": str(self._dice.randint(1, 3))}
        match self._dice.choice(("CreateAlias", "UpdateAlias", "DeleteAlias")):
            case "DeleteAlias":
                self._do("DeleteAlias", function, alias)
            case operation:
                self._do(operation, function, {**alias, **version})

    def _delete(self, function: str) -> None:
        self._do("DeleteFunction", function, {"FunctionName": function})

    def _next_value(self) -> str:
        self._count += 1
        return f"{self._number}.{self._count}.{uuid.uuid4().hex[:8]}"

    def _do(
        self,
        operation: str,
        function: str,
        members: Mapping[str, Any],
        *,
        read: Callable[[Any], Mapping[str, str]] = lambda _: {},
        **known: str,
    ) -> WireAnswer:
        began = time.monotonic()
        try:
            answer = self._send(wire_request(operation, members))
        except (OSError, http.client.HTTPException):
            self.events.append(
                Event(operation=operation, function=function, began=began, ended=time.monotonic(), status=None, **known)
            )
            raise
        told = read(answer.members) if answer.status < 300 else {}
        self.events.append(
            Event(
                operation=operation,
                function=function,
                began=began,
                ended=time.monotonic(),
                status=answer.status,
                code=answer.code,
                **{**known, **told},
            )
        )
        return answer


def _incarnation(configuration: Any) -> str:
    return str(configuration["Environment"]["Variables"]["INCARNATION"])


def _configuration(found: Any) -> Mapping[str, str]:
    return {"incarnation": _incarnation(found), "value": found["Description"]}


def _published(found: Any) -> Mapping[str, str]:
    return {"incarnation": _incarnation(found), "value": found["Version"]}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """All events of all clients, and what the server holds in the end."""
    data_dir = tmp_path_factory.mktemp("many-clients") / "data"
    server = Server(data_dir, start_service(data_dir, "--egress", "none"))
    server.is_up.set()
    try:
        clients = [Client(number, server, time.monotonic() + SECONDS) for number in range(CLIENTS)]
        threads = [threading.Thread(target=client.run) for client in clients]
        for thread in threads:
            thread.start()
        time.sleep(SECONDS / 2)
        server.kill_and_restart()
        for thread in threads:
            thread.join()
        events = sorted((event for client in clients for event in client.events), key=lambda event: event.began)
        return events, _holdings(server.service.client(), events)
    finally:
        server.service.stop()


def _holdings(client: Any, events: list[Event]) -> dict[str, Any]:
    """What there is in the end, by function; the last reads become events as well."""
    holdings: dict[str, Any] = {}
    for page in client.get_paginator("list_functions").paginate():
        for found in page["Functions"]:
            name = found["FunctionName"]
            moment = time.monotonic()
            events.append(
                Event(operation="GetFunctionConfiguration", function=name, began=moment, ended=moment, status=200,
                      **_configuration(found))
            )  # fmt: skip
            versions = client.get_paginator("list_versions_by_function").paginate(FunctionName=name)
            holdings[name] = {
                "incarnation": _incarnation(found),
                "versions": {version["Version"] for one in versions for version in one["Versions"]},
                "tags": client.list_tags(Resource=ARN + name)["Tags"],
                "aliases": {alias["FunctionVersion"] for alias in client.list_aliases(FunctionName=name)["Aliases"]},
            }
    return holdings


def test_every_outcome_is_one_of_awss(outcome: Any) -> None:
    events, _ = outcome
    assert sum(event.is_done for event in events) > 20 * SECONDS
    assert history.outcomes_are_allowed(events) == []


def test_of_updates_under_one_revision_one_succeeds(outcome: Any) -> None:
    assert history.revisions_are_used_once(outcome[0]) == []


def test_nobody_reads_what_was_replaced_before(outcome: Any) -> None:
    assert history.reads_are_not_stale(outcome[0]) == []


def test_functions_exist_as_often_as_they_were_created_and_not_deleted(outcome: Any) -> None:
    events, holdings = outcome
    assert history.creations_and_deletions_alternate(events, set(holdings)) == []


def test_version_numbers_grow_and_none_that_was_acknowledged_is_lost(outcome: Any) -> None:
    events, holdings = outcome
    assert history.versions_do_not_go_back(events) == []
    by_incarnation = {one["incarnation"]: one["versions"] for one in holdings.values()}
    assert history.acknowledged_versions_exist(events, by_incarnation) == []
    assert all(one["aliases"] <= one["versions"] for one in holdings.values())


def test_no_tag_that_was_acknowledged_is_lost(outcome: Any) -> None:
    events, holdings = outcome
    assert history.acknowledged_tags_exist(events, {name: one["tags"] for name, one in holdings.items()}) == []
