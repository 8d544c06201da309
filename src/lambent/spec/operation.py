"""One operation of a service, as two closures compiled from its shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol  # Any: parameters are of whatever type the service model gives them

Response = tuple[int, list[tuple[bytes, bytes]], bytes]
"""Status, headers and body. `x-amzn-RequestId`, `Date` and the like are the front door's."""


class Serialize(Protocol):
    def __call__(self, output: Mapping[str, Any], request_id: str = "") -> Response: ...


@dataclass(frozen=True, slots=True)
class Operation:
    name: str
    parse: Callable[[Mapping[str, str], str, Mapping[str, str], bytes], dict[str, Any]]
    """From labels (as `route` gave them), query, headers and body to parameters by AWS's member names.

    Blobs are bytes, timestamps epoch seconds; a payload member is the very body, also when that is empty.

    Raises:
        ValidationError: constraints of the model are broken; the message names all of them.
        SerializationError: the request is not of the model's form.
    """
    serialize: Serialize
    """From output by AWS's member names to a response; members that are None are left out.

    Timestamps are epoch seconds. The request id is part of the body in the query protocol only.
    """
    headers: frozenset[str] = frozenset()
    """Those that `parse` reads."""
