"""From what a caller names to an ARN of its own account and region (reference/api.md §2)."""

from __future__ import annotations

from lambent.model.arn import FunctionArn, parse_function_name
from lambent.model.caller import CallerContext
from lambent.model.errors import AccessDenied, InvalidParameterValue

_NAME_LENGTH_MAXIMUM = 64


def function_arn(caller: CallerContext, operation: str, name: str, qualifier: str | None = None) -> FunctionArn:
    """The function, version or alias that is meant.

    Raises:
        AccessDenied: it belongs to another account.
        ValidationError, ResourceNotFound, InvalidParameterValue: see `parse_function_name`.
    """
    arn = parse_function_name(name, region=caller.region, account=caller.account, qualifier=qualifier)
    if arn.account != caller.account:
        raise AccessDenied(
            f"User: arn:aws:iam::{caller.account}:root is not authorized to perform: lambda:{operation} on resource: "
            f"{arn} because no resource-based policy allows the lambda:{operation} action"
        )
    return arn


def unqualified_arn(caller: CallerContext, operation: str, name: str) -> FunctionArn:
    """The function that is meant by an operation which has no use for a version or alias."""
    arn = function_arn(caller, operation, name)
    if arn.qualifier is not None:
        raise InvalidParameterValue(
            "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. "
            "Please specify either a function name or an unqualified function ARN."
        )
    return arn


def new_function_arn(caller: CallerContext, name: str) -> FunctionArn:
    """The name of a function to be created, which alone is held to 64 characters."""
    arn = unqualified_arn(caller, "CreateFunction", name)
    if len(arn.name) > _NAME_LENGTH_MAXIMUM:
        raise InvalidParameterValue(
            f"1 validation error detected: Value '{arn.name}' at 'functionName' failed to satisfy constraint: "
            f"Member must have length less than or equal to {_NAME_LENGTH_MAXIMUM}"
        )
    return arn
