"""CloudWatch Logs filter patterns: which messages a caller wants to see.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html. Patterns of terms are compiled
here, JSON patterns in `json_pattern`; space-delimited patterns and regular expressions are refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from lambent.logs.errors import InvalidParameter
from lambent.logs.json_pattern import compile_json_pattern
from lambent.model.errors import NotImplementedByLambent

Matcher = Callable[[str], bool]

_TERM = re.compile(r'([?-]?)(?:"((?:[^"\\]|\\.)*)"|([^\s"]+))(?:\s+|$)', re.DOTALL)
_UNQUOTED = re.compile(r"\w+")


def compile_filter_pattern(pattern: str) -> Matcher:
    """A function that tells whether a message matches.

    Raises:
        InvalidParameter: this is no filter pattern.
        NotImplementedByLambent: it is one of a kind that Lambent does not support.
    """
    pattern = pattern.strip()
    if pattern.startswith("{"):
        if not pattern.endswith("}"):
            raise InvalidParameter("Invalid filter pattern: If a filter pattern starts with '{' it must end with '}'")
        return compile_json_pattern(pattern[1:-1])
    if pattern.startswith("["):
        raise NotImplementedByLambent("Lambent does not support space-delimited filter patterns ([...]) yet")
    if pattern.startswith("%"):
        raise NotImplementedByLambent("Lambent does not support regular expressions (%...%) in filter patterns yet")
    return parse_terms(pattern).matches


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Case-sensitive pieces of text. `optional` ones count only where nothing is required: then one must be there."""

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()

    def matches(self, message: str) -> bool:
        if any(term in message for term in self.excluded):
            return False
        if self.required or not self.optional:
            return all(term in message for term in self.required)
        return any(term in message for term in self.optional)


def parse_terms(pattern: str) -> Terms:
    found: dict[str, list[str]] = {"": [], "?": [], "-": []}
    position = 0
    while position < len(pattern):
        match = _TERM.match(pattern, position)
        if match is None:
            raise InvalidParameter("Invalid filter pattern")
        sign, quoted, unquoted = match.groups()
        if quoted is None and not _UNQUOTED.fullmatch(unquoted):
            raise InvalidParameter(f"Invalid filter pattern: Invalid character(s) in term '{sign}{unquoted}'")
        if quoted == "":
            raise InvalidParameter("Invalid filter pattern: Invalid character(s) in term '\"\"'")
        found[sign].append(unquoted if quoted is None else re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL))
        position = match.end()
    return Terms(required=tuple(found[""]), optional=tuple(found["?"]), excluded=tuple(found["-"]))
