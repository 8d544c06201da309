"""One filter pattern as a closure over records: keys are ANDed, rules of a leaf and the members of `$or` are ORed.

In a record a list stands for any of its elements, and what one object of a pattern asks must be true of one element.
That there is no value (`{"exists": false}`) is asked of the record as a whole: no element may have one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final  # Any: a record is JSON, of any type until a rule has looked at it

from lambent.model.event_filter.rules import InvalidPattern, Leaf, compile_leaf

Match = Callable[[Mapping[str, Any], Mapping[str, Any]], bool]
"""Takes an object, and the record that it is part of."""

OR: Final = "$or"
DEPTH_MAXIMUM: Final = 64
"""Ours, not AWS's: 4,096 characters can hold more objects in one another than Python calls functions."""

_NOTHING: Mapping[str, Any] = {}
_ABSENT: Final = object()


def compile_object(
    pattern: Mapping[str, Any],
    path: tuple[str, ...] = (),
    *,
    has_number_texts: bool = False,
    compile_key: Callable[[str, object], Match] | None = None,
) -> Match:
    """`has_number_texts`: below keys `N` and `NS` numbers are text; `compile_key` compiles the keys of this object.

    Raises:
        InvalidPattern: it is not of AWS's grammar.
    """
    if not pattern or len(path) > DEPTH_MAXIMUM:
        raise InvalidPattern("objects hold at least one key and are not nested without end")

    def compile_default(key: str, below: object) -> Match:
        return compile_field((*path, key), below, has_number_texts=has_number_texts)

    def compile_branch(branch: object) -> Match:
        if not isinstance(branch, dict):
            raise InvalidPattern("the members of $or are objects")
        return compile_object(branch, path, has_number_texts=has_number_texts, compile_key=compile_key)

    fields = [
        _any_of(_branches(below), compile_branch) if key == OR else (compile_key or compile_default)(key, below)
        for key, below in pattern.items()
    ]
    return _all_of(fields)


def compile_field(path: tuple[str, ...], below: object, *, has_number_texts: bool = False) -> Match:
    """What is asked of the last key of `path`."""
    key = path[-1]
    if isinstance(below, dict):
        return _object_field(key, compile_object(below, path, has_number_texts=has_number_texts))
    if isinstance(below, list):
        leaf = compile_leaf(below, is_number_text=has_number_texts and key in ("N", "NS"))
        return _leaf_field(path, leaf)
    raise InvalidPattern("a key stands for an object or a list of rules")


def scalars(value: object) -> Iterator[object]:
    """The values in a list, however deep in lists; of a value that is no list, the value; an object has none."""
    return (element for element in _elements(value) if not isinstance(element, dict))


def _elements(value: object) -> Iterator[Any]:
    waiting = [value]
    while waiting:
        element = waiting.pop()
        if isinstance(element, list):
            waiting.extend(element)
        else:
            yield element


def _branches(below: object) -> Sequence[object]:
    if not isinstance(below, list) or len(below) < 2:
        raise InvalidPattern("$or lists two objects or more")
    return below


def _all_of(matches: Sequence[Match]) -> Match:
    if len(matches) == 1:
        return matches[0]

    def match(node: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
        for one in matches:  # noqa: SIM110 - a loop is twice as fast as all() with a generator
            if not one(node, record):
                return False
        return True

    return match


def _any_of(branches: Sequence[object], compile_branch: Callable[[object], Match]) -> Match:
    matches = [compile_branch(branch) for branch in branches]
    return lambda node, record: any(match(node, record) for match in matches)


def _object_field(key: str, below: Match) -> Match:
    def match(node: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
        value = node.get(key)
        if isinstance(value, dict):
            return below(value, record)
        objects = [one for one in _elements(value) if isinstance(one, dict)]
        return any(below(one, record) for one in objects or (_NOTHING,))

    return match


def _leaf_field(path: tuple[str, ...], leaf: Leaf) -> Match:
    key, test = path[-1], leaf.test

    def match(node: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
        value = node.get(key, _ABSENT)
        if isinstance(value, list):
            return any(map(test, scalars(value)))
        return value is not _ABSENT and not isinstance(value, dict) and test(value)

    if not leaf.allows_absence:
        return match
    return lambda node, record: match(node, record) or not _has_value(record, path)


def _has_value(record: Mapping[str, Any], path: tuple[str, ...]) -> bool:
    nodes: list[Any] = [record]
    for key in path:
        objects = [one for one in nodes if isinstance(one, dict)]
        nodes = [element for one in objects if key in one for element in _elements(one[key])]
    return any(not isinstance(node, dict) for node in nodes)
