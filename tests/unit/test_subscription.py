"""What may be subscribed to, and what is said of the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.worker.subscription import (
    Api,
    Buffering,
    HttpDestination,
    InvalidSubscription,
    TcpDestination,
    parse_subscription,
)

HTTP = {"protocol": "HTTP", "URI": "http://sandbox.localdomain:8080"}
REQUEST: dict[str, Any] = {"schemaVersion": "2022-12-13", "types": ["platform"], "destination": HTTP}


def parse(api: Api = Api.TELEMETRY, **changes: Any) -> Any:
    return parse_subscription(api, json.dumps({**REQUEST, **changes}).encode())


def destination(**changes: Any) -> Any:
    return parse(destination={**HTTP, **changes}).destination


def test_a_subscription_has_defaults() -> None:
    assert parse().buffering == Buffering(max_items=10_000, max_bytes=262_144, timeout_ms=1_000)
    assert parse(buffering={"timeoutMs": 25}).buffering.timeout_ms == 25


def test_the_logs_api_takes_its_first_version_where_none_is_given() -> None:
    body = json.dumps({"types": ["function"], "destination": HTTP}).encode()

    assert parse_subscription(Api.LOGS, body).schema_version == "2020-08-15"


def test_a_destination_is_a_server_or_a_listener_inside() -> None:
    assert destination() == HttpDestination(port=8080, target="/")
    assert destination(URI="http://sandbox/a?b=c", method="PUT") == HttpDestination(
        port=80, target="/a?b=c", method="PUT"
    )
    assert parse(destination={"protocol": "TCP", "port": 9}).destination == TcpDestination(port=9)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schemaVersion": "2020-08-15"}, "schemaVersion must be one of 2022-07-01, 2022-12-13, 2025-01-29"),
        ({"schemaVersion": None}, "schemaVersion"),
        ({"types": []}, "types must be a list of platform, function, extension"),
        ({"types": ["trace"]}, "types"),
        ({"types": "platform"}, "types"),
        ({"buffering": {"maxItems": 999}}, "buffering.maxItems must be between 1000 and 10000, not 999"),
        ({"buffering": {"maxBytes": 1_048_577}}, "buffering.maxBytes must be between 262144 and 1048576"),
        ({"buffering": {"timeoutMs": 24}}, "buffering.timeoutMs must be between 25 and 30000"),
        ({"buffering": {"timeoutMs": True}}, "buffering.timeoutMs"),
        ({"buffering": {"more": 1}}, "buffering must be an object of maxItems, maxBytes, timeoutMs"),
        ({"destination": None}, "destination must be"),
        ({"destination": {"protocol": "TCP", "port": 0}}, "destination must be"),
        ({"destination": {"protocol": "UDP", "port": 1}}, "destination must be"),
        ({"destination": {**HTTP, "URI": "http://example.com"}}, "destination.URI must be http://sandbox.localdomain"),
        ({"destination": {**HTTP, "URI": "http://sandbox.localdomain:99999"}}, "destination.URI cannot be read"),
        ({"destination": {**HTTP, "URI": "http://sandbox:1/\r\nX: 1"}}, "destination.URI"),
        ({"destination": {**HTTP, "method": "GET"}}, "destination.method must be POST or PUT"),
        ({"destination": {**HTTP, "encoding": "XML"}}, "destination.encoding must be JSON"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidSubscription) as refused:
        parse(**changes)
    assert words in str(refused.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(
    st.binary()
    | st.dictionaries(st.sampled_from([*REQUEST, "buffering"]), JSON).map(lambda request: json.dumps(request).encode())
)
def test_nothing_that_is_sent_is_a_fault_of_ours(body: bytes) -> None:
    for api in Api:
        try:
            parse_subscription(api, body)
        except InvalidSubscription as refused:
            text = str(refused)
        else:
            text = "subscribed"
        assert text
