"""What PutLogEvents accepts: the limits of a batch, and which of its events are too old or too new."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from lambent.logs.errors import InvalidParameter
from lambent.ports.log_store import DAY_MS, Record

BATCH_BYTES = 1_048_576
EVENT_BYTES = 1_048_576
EVENT_OVERHEAD_BYTES = 26
BATCH_SPAN_MS = DAY_MS
OLDEST_MS = 14 * DAY_MS
NEWEST_MS = 2 * 60 * 60 * 1000


def check_batch(records: Sequence[Record]) -> None:
    """Refuse a batch as a whole.

    Raises:
        InvalidParameter: it is too large, not in order of time, or spans more than a day.
    """
    if any(later.timestamp_ms < earlier.timestamp_ms for earlier, later in pairwise(records)):
        raise InvalidParameter("Log events in a single PutLogEvents request must be in chronological order.")
    sizes = [len(record.text) + EVENT_OVERHEAD_BYTES for record in records]
    if max(sizes) > EVENT_BYTES:
        raise InvalidParameter(f"Log event too large: {max(sizes)} bytes exceeds limit of {EVENT_BYTES}")
    if sum(sizes) > BATCH_BYTES:
        raise InvalidParameter(f"Upload too large: {sum(sizes)} bytes exceeds limit of {BATCH_BYTES}")


def accepted_range(records: Sequence[Record], *, now_ms: int, oldest_kept_ms: int) -> tuple[int, int, dict[str, int]]:
    """The records from the first returned index up to the second are accepted; the rest are told in AWS's words.

    Raises:
        InvalidParameter: those accepted span more than a day.
    """
    too_old = sum(record.timestamp_ms < now_ms - OLDEST_MS for record in records)
    expired = sum(record.timestamp_ms < oldest_kept_ms for record in records)
    too_new = sum(record.timestamp_ms > now_ms + NEWEST_MS for record in records)
    start, end = max(too_old, expired), len(records) - too_new
    if start < end and records[end - 1].timestamp_ms - records[start].timestamp_ms > BATCH_SPAN_MS:
        raise InvalidParameter(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours."
        )
    rejected = {
        "tooOldLogEventEndIndex": too_old or None,
        "expiredLogEventEndIndex": expired or None,
        "tooNewLogEventStartIndex": end if too_new else None,
    }
    return start, end, {name: index for name, index in rejected.items() if index is not None}
