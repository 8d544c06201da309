"""Recursive loops: how often an event has led to the same function, told by its trace (reference/lifecycle.md §12).

A trace header's `Lineage=1:<function>:<times>|<function>:<times>…` names the functions of a chain by a hash. SDKs
inside a function send the header on, so a chain that comes back finds its own hash.
https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html
"""

from __future__ import annotations

import re
import zlib
from functools import lru_cache

from lambent.model.arn import FunctionArn
from lambent.model.errors import ApiError

INVOCATIONS_MAXIMUM = 16
"""How often one chain may invoke the same function."""

_LINEAGE = re.compile(r"(?:^|;)\s*Lineage=([^;]*)")
_LINK = re.compile(r"([0-9a-f]{8}):(\d{1,5})(?:\||$)")


class RecursiveInvocation(ApiError):
    code = "RecursiveInvocationException"
    status = 400


def extend(trace_id: str, function: FunctionArn) -> tuple[str, int]:
    """A complete trace header as the function will see it, and how often its chain has invoked this function before."""
    name = _hash(function)
    if "Lineage=" not in trace_id:
        return f"{trace_id};Lineage=1:{name}:0", 0
    links = _links(trace_id)
    links[name] = links.get(name, -1) + 1
    lineage = "|".join(f"{link}:{times}" for link, times in links.items())
    return f"{_LINEAGE.sub('', trace_id)};Lineage=1:{lineage}", links[name]


def refusal(function: FunctionArn) -> RecursiveInvocation:
    return RecursiveInvocation(
        f"Recursive loop detected: one chain has invoked {function.unqualified} {INVOCATIONS_MAXIMUM} times",
        Type="User",
    )


def _links(trace_id: str) -> dict[str, int]:
    lineage = _LINEAGE.search(trace_id)
    return {name: int(times) for name, times in _LINK.findall(lineage[1])} if lineage else {}


@lru_cache(maxsize=4_096)
def _hash(function: FunctionArn) -> str:
    return f"{zlib.crc32(str(function.unqualified).encode()):08x}"
