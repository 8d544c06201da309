"""Where outcomes may go: the ARNs that are destinations of asynchronous invokes (reference/invocation.md §5.1)."""

from __future__ import annotations

import re
from collections.abc import Collection

from lambent.control.catalogue import Catalogue
from lambent.control.requests import Members
from lambent.model.arn import FunctionArn
from lambent.model.errors import InvalidParameterValue, ResourceNotFound

_FUNCTION = re.compile(
    r"arn:aws[a-zA-Z-]*:lambda:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):function:"
    r"(?P<name>[a-zA-Z0-9-_]+)(?::(?P<qualifier>[a-zA-Z0-9-_$]+))?"
)

_ANY_OUTCOME = ("sqs", "sns", "lambda", "events")


class DestinationMembers(Members):
    destination: str | None = None


class DestinationConfigMembers(Members):
    """AWS's DestinationConfig; an empty ARN is none."""

    on_success: DestinationMembers | None = None
    on_failure: DestinationMembers | None = None

    @property
    def success_arn(self) -> str | None:
        return (self.on_success and self.on_success.destination) or None

    @property
    def failure_arn(self) -> str | None:
        return (self.on_failure and self.on_failure.destination) or None


def as_answer(success_arn: str | None, failure_arn: str | None) -> dict[str, object]:
    return {"OnSuccess": {"Destination": success_arn}, "OnFailure": {"Destination": failure_arn}}


async def check(catalogue: Catalogue, function: FunctionArn, config: DestinationConfigMembers) -> None:
    """Refuse destinations that no outcome of this function's asynchronous invokes could be sent to."""
    check_services(config, success=_ANY_OUTCOME, failure=(*_ANY_OUTCOME, "s3"))
    for arn in (config.success_arn, config.failure_arn):
        if arn is not None and _service(arn) == "lambda":
            await _check_function(catalogue, function, arn)


def check_services(
    config: DestinationConfigMembers, *, success: Collection[str] = (), failure: Collection[str] = ()
) -> None:
    """Refuse ARNs of other services than those, and queues and topics of the FIFO kind."""
    for arn, services in ((config.success_arn, success), (config.failure_arn, failure)):
        if arn is None:
            continue
        if _service(arn) not in services:
            raise InvalidParameterValue(f"The provided destination config {_as_java_shows(config)} is invalid.")
        if arn.endswith(".fifo"):
            raise _invalid(arn)


async def _check_function(catalogue: Catalogue, function: FunctionArn, arn: str) -> None:
    match = _FUNCTION.fullmatch(arn)
    if match is None:
        raise _invalid(arn)
    destination = FunctionArn(match["region"], match["account"], match["name"], match["qualifier"])
    if destination.unqualified == function.unqualified:
        raise InvalidParameterValue("You can't specify the function as a destination for itself.")
    try:
        await catalogue.version((await catalogue.find(destination)).record, destination)
    except ResourceNotFound as error:
        raise _invalid(arn) from error


def _service(arn: str) -> str:
    """The service that an ARN is of; a topic is written `kafka://topic`."""
    parts = arn.split(":")
    return parts[2] if parts[0] == "arn" else parts[0]


def _invalid(arn: str) -> InvalidParameterValue:
    return InvalidParameterValue(f"The destination ARN {arn} is invalid.")


def _as_java_shows(config: DestinationConfigMembers) -> str:
    success, failure = config.success_arn, config.failure_arn
    on_success = f"OnSuccess(destination={success})" if success else "null"
    on_failure = f"OnFailure(destination={failure})" if failure else "null"
    return f"DestinationConfig(onSuccess={on_success}, onFailure={on_failure})"
