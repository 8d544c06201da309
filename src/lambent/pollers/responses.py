"""What a function says of the records it was given, to AWS's letter. Pure.

https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import msgspec

from lambent.model.limits import TUMBLING_STATE_BYTES

_decode = msgspec.json.Decoder().decode


def text(identifier: object) -> str | None:
    return identifier if isinstance(identifier, str) else None


def offset_in(shard: str) -> Callable[[object], str | None]:
    """Kafka's records are named by partition and offset: `{"partition": "orders-3", "offset": 15}`."""

    def offset(identifier: object) -> str | None:
        if not isinstance(identifier, dict) or identifier.get("partition") != shard:
            return None
        number = identifier.get("offset")
        return str(number) if isinstance(number, int | str) else None

    return offset


def failed_ids(
    payload: bytes, given: Collection[str], id_of: Callable[[object], str | None] = text
) -> frozenset[str] | None:
    """Which of the records that it was `given` a function reports in batchItemFailures; `id_of` reads itemIdentifier.

    None: what it says is not to be understood, or of no record that it was given, and so all have failed.
    """
    try:
        answer = _decode(payload) if payload.strip() else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if answer is None:
        return frozenset()
    if not isinstance(answer, dict):
        return None
    items = answer.get("batchItemFailures")
    if items is None:
        return frozenset()
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        return None
    reported = [id_of(item.get("itemIdentifier")) for item in items]
    known = frozenset(id for id in reported if id is not None and id in given)
    return known if len(known) == len(set(reported)) else None


def window_state(payload: bytes) -> msgspec.Raw | None:
    """The state of its tumbling window that a function returns; without one the invocation counts as failed."""
    try:
        answer = msgspec.json.decode(payload, type=_Windowed)
        payload.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return None if bytes(answer.state).strip() in (b"", b"null") else answer.state


def is_state_too_large(state: msgspec.Raw) -> bool:
    return len(bytes(state)) > TUMBLING_STATE_BYTES


class _Windowed(msgspec.Struct):
    state: msgspec.Raw = msgspec.Raw(b"")
