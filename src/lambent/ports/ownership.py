"""Who does what only one may do: granted in one process; a key with an expiry in a cluster."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol


class OwnershipLost(Exception):
    """Somebody else may be the owner by now."""


class Ownership(Protocol):
    def hold(self, name: str) -> AbstractAsyncContextManager[None]:
        """Entering waits until nobody else holds `name`; leaving lets it go.

        Raises:
            OwnershipLost: on leaving; the body was cancelled when it happened.
        """
        ...
