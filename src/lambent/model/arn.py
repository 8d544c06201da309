"""Names of functions: ARNs and the partial forms callers may use (reference/api.md §2)."""

from __future__ import annotations

import functools
import re

from msgspec import Struct

from lambent.model.errors import InvalidParameterValue, ResourceNotFound, ValidationError

LATEST = "$LATEST"

_NAME = re.compile(
    r"(?:(?:arn:(?P<partition>aws[a-zA-Z-]*):lambda:(?P<region>(?:eusc-)?[a-z]{2}(?:(?:-gov)|(?:-iso[a-z]?))?-[a-z]+-\d):)?"
    r"(?P<account>\d{12}):)?"
    r"(?P<function>function:)?(?P<name>[a-zA-Z0-9-_]+)(?::(?P<qualifier>\$LATEST(?:\.PUBLISHED)?|[a-zA-Z0-9-_$]+))?",
    re.ASCII,
)

NAME_PATTERN = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?"
    r"(function:)?([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"
)
"""The pattern AWS quotes when a function name is refused."""


class FunctionArn(Struct, frozen=True):
    """A function, or one version or alias of it when `qualifier` is set."""

    region: str
    account: str
    name: str
    qualifier: str | None = None

    def __str__(self) -> str:
        tail = f":{self.qualifier}" if self.qualifier else ""
        return f"arn:aws:lambda:{self.region}:{self.account}:function:{self.name}{tail}"

    @property
    def unqualified(self) -> FunctionArn:
        return FunctionArn(self.region, self.account, self.name)

    def qualified(self, qualifier: str) -> FunctionArn:
        return FunctionArn(self.region, self.account, self.name, qualifier)


@functools.lru_cache(maxsize=4_096)
def parse_function_name(text: str, *, region: str, account: str, qualifier: str | None = None) -> FunctionArn:
    """Resolve what a caller wrote as FunctionName (and Qualifier) to an ARN in the caller's region and account.

    Raises:
        ValidationError: the text is no function name at all.
        ResourceNotFound: an ARN of another region.
        InvalidParameterValue: the name's qualifier and `qualifier` disagree.
    """
    match = _NAME.fullmatch(text)
    if match is None or (match["account"] and not match["function"]):
        raise ValidationError(
            f"1 validation error detected: Value '{text}' at 'functionName' failed to satisfy constraint: "
            f"Member must satisfy regular expression pattern: {NAME_PATTERN}"
        )
    if match["region"] and match["region"] != region:
        raise ResourceNotFound(
            f"Functions from '{match['region']}' are not reachable in this region ('{region}')", Type="User"
        )
    inner = match["qualifier"]
    if inner and qualifier and inner != qualifier:
        raise InvalidParameterValue(
            "The derived qualifier from the function name does not match the specified qualifier.", Type="User"
        )
    return FunctionArn(region, match["account"] or account, match["name"], qualifier or inner)
