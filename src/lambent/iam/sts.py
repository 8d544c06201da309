"""The Security Token Service, as far as Lambent speaks it: who am I?"""

from __future__ import annotations

from lambent.model.caller import CallerContext


def get_caller_identity(caller: CallerContext) -> dict[str, str]:
    """The answer to GetCallerIdentity. A root user's id is its account's."""
    return {"UserId": caller.account, "Account": caller.account, "Arn": caller.arn}
