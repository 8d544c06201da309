"""Who wants to know of changed keys: the `watch` of every store that lives in this process."""

from __future__ import annotations

from collections.abc import Callable


class Watchers:
    """Base of the in-process stores; `_tell` after each change, in the event loop."""

    def __init__(self) -> None:
        self._watchers: dict[object, tuple[str, Callable[[str], None]]] = {}

    def watch(self, prefix: str, changed: Callable[[str], None]) -> Callable[[], None]:
        token = object()
        self._watchers[token] = (prefix, changed)

        def unsubscribe() -> None:
            self._watchers.pop(token, None)

        return unsubscribe

    def _tell(self, key: str) -> None:
        for prefix, changed in list(self._watchers.values()):
            if key.startswith(prefix):
                changed(key)
