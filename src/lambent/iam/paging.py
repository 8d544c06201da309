"""Pages of lists: at most MaxItems entries behind Marker, which names the last entry of the page before."""

from __future__ import annotations

from base64 import b64decode, urlsafe_b64encode
from collections.abc import Iterable, Sequence
from typing import TypeVar

from lambent.iam.requests import PageRequest
from lambent.model.errors import ValidationError

PAGE = 100
"""Entries of a page that asks for no number of its own."""

Answer = dict[str, object]
Item = TypeVar("Item")


def page(request: PageRequest, keyed: Iterable[tuple[str, Item]]) -> tuple[Sequence[Item], Answer]:
    """The items of one page, in order of their keys, and the members of the answer that tell whether more follow."""
    last = _read(request.marker)
    rest = sorted((entry for entry in keyed if entry[0] > last), key=lambda entry: entry[0])
    size = request.max_items or PAGE
    items = [item for _, item in rest[:size]]
    if len(rest) <= size:
        return items, {"IsTruncated": False}
    return items, {"IsTruncated": True, "Marker": urlsafe_b64encode(rest[size - 1][0].encode()).decode()}


def _read(marker: str | None) -> str:
    try:
        return b64decode((marker or "").encode(), altchars=b"-_", validate=True).decode()
    except ValueError as error:
        raise ValidationError("Invalid Marker: it is not one that a previous page gave.") from error
