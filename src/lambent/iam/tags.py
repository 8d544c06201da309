"""Tags on roles and policies: at most 50, and their keys differ by more than their case."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lambent.iam.errors import InvalidInput, LimitExceeded
from lambent.iam.requests import TagMembers

_MAXIMUM = 50


def tagged(tags: Mapping[str, str], added: Sequence[TagMembers], kind: str) -> dict[str, str]:
    """The tags after some were added; `kind` is Role or Policy.

    Raises:
        InvalidInput: a key is there twice, or is AWS's own.
        LimitExceeded: there would be too many.
    """
    fresh = {tag.key.lower(): tag for tag in added}
    if len(fresh) != len(added):
        raise InvalidInput("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
    if reserved := [key for key in fresh if key.startswith("aws:")]:
        raise InvalidInput(f"Tag keys beginning with 'aws:' are reserved for AWS, found '{fresh[reserved[0]].key}'.")
    kept = {key: value for key, value in tags.items() if key.lower() not in fresh}
    result = {**kept, **{tag.key: tag.value for tag in fresh.values()}}
    if len(result) > _MAXIMUM:
        raise LimitExceeded(f"Cannot exceed quota for TagsPer{kind}: {_MAXIMUM}")
    return result


def untagged(tags: Mapping[str, str], keys: Iterable[str]) -> dict[str, str]:
    removed = {key.lower() for key in keys}
    return {key: value for key, value in tags.items() if key.lower() not in removed}


def answer(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
