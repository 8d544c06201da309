"""Timestamps of the wire: read from any of AWS's three forms to epoch seconds, written as ISO 8601."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from lambent.model.errors import SerializationError


def parse_timestamp(text: str) -> float:
    """Epoch seconds of `1700000000.5`, `2023-11-14T22:13:20Z` or `Tue, 14 Nov 2023 22:13:20 GMT`."""
    for read in (_read_epoch, _read_iso, _read_http_date):
        try:
            return read(text)
        except (ValueError, OverflowError):
            continue
    raise SerializationError(f"'{text}' can not be converted to a timestamp")


def format_iso(epoch_s: float) -> str:
    moment = datetime.fromtimestamp(epoch_s, UTC)
    spec = "milliseconds" if moment.microsecond else "seconds"
    return moment.isoformat(timespec=spec).replace("+00:00", "Z")


def _read_epoch(text: str) -> float:
    moment = float(text)
    datetime.fromtimestamp(moment, UTC)  # refuses nan, inf and times that no calendar holds
    return moment


def _read_iso(text: str) -> float:
    return _utc_if_naive(datetime.fromisoformat(text)).timestamp()


def _read_http_date(text: str) -> float:
    return _utc_if_naive(parsedate_to_datetime(text)).timestamp()


def _utc_if_naive(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
