"""Who calls the control plane, and from where."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerContext:
    """Account and region of one request, `base_url` (`http://host:port`) as it reached us, and who sent it.

    `arn` and `user_id` are the principal's; `access_key_id` is what it signed with, if with anything.
    """

    account: str
    region: str
    base_url: str
    arn: str = ""
    user_id: str = ""
    access_key_id: str = ""
