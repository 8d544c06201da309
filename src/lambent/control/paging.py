"""Pages of things that are listed by name, which stay right while others come and go (reference/api.md §9)."""

from __future__ import annotations

from collections.abc import Iterable

from lambent.control import answers


def page(names: Iterable[str], marker: str | None, size: int) -> tuple[list[str], str | None]:
    """The names behind those of the page before, in order and at most `size`, and the NextMarker if there are more."""
    last = answers.read_marker(marker)
    following = sorted(name for name in names if name > last)
    shown = following[:size]
    return shown, answers.marker(shown[-1]) if len(following) > size else None
