"""What functions register for SnapStart: calls before the snapshot is taken, and calls after each restore from it.

The names are AWS's. https://docs.aws.amazon.com/lambda/latest/dg/snapstart-runtime-hooks-python.html
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any  # hooks take and return what they like

    Hook = Callable[..., Any]
    Registered = tuple[Hook, tuple[Any, ...], dict[str, Any]]

_before_snapshot: list[Registered] = []
_after_restore: list[Registered] = []


def register_before_snapshot(func: Hook, *args: Any, **kwargs: Any) -> Hook:
    """Have a function called once, before the snapshot; the one registered last is the first. Also a decorator."""
    _before_snapshot.append((func, args, kwargs))
    return func


def register_after_restore(func: Hook, *args: Any, **kwargs: Any) -> Hook:
    """Have a function called after each restore, in the order of registration. Also a decorator."""
    _after_restore.append((func, args, kwargs))
    return func


def get_before_snapshot() -> list[Registered]:
    return _before_snapshot


def get_after_restore() -> list[Registered]:
    return _after_restore
