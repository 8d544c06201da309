"""Requests as typed structures: the members that a part acts upon.

A member that a structure does not name is refused by name as soon as it says something, so that no configuration is
accepted and then ignored, not even one that a later service model brings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import TypeVar, get_args

import msgspec

from lambent.model.errors import ApiError


class Members(msgspec.Struct, rename="pascal"):
    """A structure of a request; absent members are None."""


Request = TypeVar("Request", bound=Members)


def parse(kind: type[Request], parameters: Mapping[str, object], unsupported: Callable[[str], ApiError]) -> Request:
    """Type the members of a request that the service model has already checked.

    Raises:
        ApiError: what `unsupported` makes of the name of a member that is not known but says something.
    """
    _refuse_unsupported(kind, parameters, unsupported)
    return msgspec.convert(parameters, kind)


def _refuse_unsupported(
    kind: type[Members], members: Mapping[str, object], unsupported: Callable[[str], ApiError], path: str = ""
) -> None:
    known = _known(kind)
    for name, value in members.items():
        if name not in known:
            if says_something(value):
                raise unsupported(path + name)
        elif (structure := known[name]) is not None and isinstance(value, Mapping):
            _refuse_unsupported(structure, value, unsupported, f"{path}{name}.")


@cache
def _known(kind: type[Members]) -> Mapping[str, type[Members] | None]:
    """The members of a structure by AWS's name, with the structure that they hold, if they hold one."""
    known: dict[str, type[Members] | None] = {}
    for member in msgspec.structs.fields(kind):
        candidates = (member.type, *get_args(member.type))
        structures = (one for one in candidates if isinstance(one, type) and issubclass(one, Members))
        known[member.encode_name] = next(structures, None)
    return known


def says_something(value: object) -> bool:
    """Clients send empty structures and lists to mean "none": `VpcConfig: {SubnetIds: []}`, `KMSKeyArn: ""`."""
    if isinstance(value, Mapping):
        return any(says_something(member) for member in value.values())
    if isinstance(value, list | tuple):
        return any(says_something(member) for member in value)
    return value is not None and value is not False and value not in ("", b"")
