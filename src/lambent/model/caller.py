"""Who calls the control plane, and from where."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerContext:
    """The account and region of one signed request; `base_url` is how the caller reached us (`http://host:port`), `arn` who it is."""

    account: str
    region: str
    base_url: str
    arn: str = ""
