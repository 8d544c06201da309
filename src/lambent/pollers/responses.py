"""What a function says of the records it was given, to AWS's letter. Pure.

https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from lambent.model.limits import TUMBLING_STATE_BYTES

_decode = msgspec.json.Decoder().decode


def failed_ids(payload: bytes, given: Collection[str]) -> frozenset[str] | None:
    """Which of the records that it was `given` a function reports in batchItemFailures.

    None: what it says is not to be understood, or of no record that it was given, and so all have failed.
    """
    try:
        answer = _decode(payload) if payload.strip() else None
    except (msgspec.DecodeError, UnicodeDecodeError):
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
    reported = [item.get("itemIdentifier") for item in items]
    return frozenset(reported) if all(isinstance(id, str) and id in given for id in reported) else None


def window_state(payload: bytes) -> msgspec.Raw | None:
    """The state of its tumbling window that a function returns; without one the invocation counts as failed."""
    try:
        answer = msgspec.json.decode(payload, type=_Windowed)
        payload.decode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return None if bytes(answer.state).strip() in (b"", b"null") else answer.state


def is_state_too_large(state: msgspec.Raw) -> bool:
    return len(bytes(state)) > TUMBLING_STATE_BYTES


class _Windowed(msgspec.Struct):
    state: msgspec.Raw = msgspec.Raw(b"")
