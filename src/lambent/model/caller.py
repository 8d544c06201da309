"""Who calls the control plane, and from where."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerContext:
    """Account and region of one request, `base_url` (`http://host:port`) as it reached us, `arn` of who sent it."""

    account: str
    region: str
    base_url: str
    arn: str = ""
