"""Function URLs: an HTTP endpoint of a function or an alias, and how requests find it (reference/invocation.md §6)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class AuthType(StrEnum):
    NONE = "NONE"
    AWS_IAM = "AWS_IAM"


class InvokeMode(StrEnum):
    BUFFERED = "BUFFERED"
    RESPONSE_STREAM = "RESPONSE_STREAM"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cors:
    """What pages of other origins may do; None stands for unsaid."""

    allow_credentials: bool | None = None
    allow_headers: tuple[str, ...] | None = None
    allow_methods: tuple[str, ...] | None = None
    allow_origins: tuple[str, ...] | None = None
    expose_headers: tuple[str, ...] | None = None
    max_age_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionUrlConfig:
    """One URL. `invoke_mode` None is BUFFERED, unsaid; times are AWS's text."""

    url_id: str
    auth_type: AuthType
    cors: Cors | None = None
    invoke_mode: InvokeMode | None = None
    creation_time: str
    last_modified_time: str


URL_PATH = "/_lambent/url/"
"""What the path of a function URL begins with that is not told by its host: this, then the url id, then the path."""

_HOST = re.compile(r"([a-z0-9]{32})\.lambda-url\.")


def domain_name(url_id: str, region: str) -> str:
    return f"{url_id}.lambda-url.{region}.on.aws"


def url_id_of_host(host: str) -> str | None:
    """The url id in a Host header: `<url-id>.lambda-url.<region>` of whatever domain leads here."""
    found = _HOST.match(host.lower())
    return found[1] if found else None
