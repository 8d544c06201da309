"""How a command fails: what happened, what to do, and the exit status that tells a script."""

from __future__ import annotations

import sys
from enum import IntEnum
from pathlib import Path

from lambent.config import InvalidConfiguration

_SIGNATURE_CODES = frozenset(
    (
        "AccessDeniedException",
        "IncompleteSignatureException",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "UnrecognizedClientException",
    )
)


class ExitStatus(IntEnum):
    DONE = 0
    FAILED = 1
    """The function failed, the server could not start, or the host can isolate nothing."""
    USAGE = 2
    REFUSED = 3
    NO_SERVER = 4


class Failure(Exception):
    """The command cannot do what it was asked to; `hint` says what to do about it."""

    def __init__(self, message: str, *, status: ExitStatus, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.hint = hint

    def show(self) -> None:
        from rich.console import Console

        console = Console(stderr=True, highlight=False, soft_wrap=True)
        console.print("error:", style="bold red", end=" ")
        console.print(self.message, markup=False)
        if self.hint:
            console.print(self.hint, style="dim", markup=False)


def no_server(endpoint_url: str) -> Failure:
    return Failure(
        f"No Lambent server answers at {endpoint_url}.",
        status=ExitStatus.NO_SERVER,
        hint="Start one with `lambent serve`, or name another with --endpoint-url or AWS_ENDPOINT_URL.",
    )


def not_lambent(endpoint_url: str) -> Failure:
    return Failure(
        f"What answers at {endpoint_url} is not a Lambent server.",
        status=ExitStatus.NO_SERVER,
        hint="Name the right address with --endpoint-url or AWS_ENDPOINT_URL.",
    )


def explain(error: Exception) -> Failure | None:
    """The failure that an exception stands for; None where it is a defect of ours."""
    match error:
        case Failure():
            return error
        case InvalidConfiguration():
            return Failure(str(error), status=ExitStatus.USAGE)
        case FileNotFoundError() | PermissionError() | IsADirectoryError() | NotADirectoryError():
            name = Path(str(error.filename)) if error.filename else "a file"
            return Failure(f"{name}: {error.strerror}", status=ExitStatus.USAGE)
    return _of_botocore(error) if "botocore" in sys.modules else None


def _of_botocore(error: Exception) -> Failure | None:
    from botocore import exceptions, parsers

    match error:
        case exceptions.ClientError():
            return _refused(error.response["Error"]["Code"], error.response["Error"]["Message"])
        case exceptions.WaiterError():
            return Failure(_waited_in_vain(error), status=ExitStatus.REFUSED)
        case exceptions.HTTPClientError() | exceptions.EndpointConnectionError():
            return no_server(_origin(error.kwargs.get("endpoint_url", "the endpoint")))
        case parsers.ResponseParserError():
            return Failure(f"The answer is not AWS's: {error}", status=ExitStatus.NO_SERVER)
        case exceptions.ParamValidationError():
            return Failure(str(error), status=ExitStatus.USAGE)
        case exceptions.BotoCoreError():
            return Failure(str(error), status=ExitStatus.REFUSED)
    return None


def _origin(url: str) -> str:
    """Without the path of the operation that happened to be tried."""
    return "/".join(url.split("/")[:3])


def _refused(code: str, message: str) -> Failure:
    hint = None
    if code in _SIGNATURE_CODES:
        hint = 'This server checks signatures. On its machine, `eval "$(lambent env --data-dir DIR)"` sets its key.'
    return Failure(f"{code}: {message}", status=ExitStatus.REFUSED, hint=hint)


def _waited_in_vain(error: Exception) -> str:
    """A waiter's own words say little; the function's state says why."""
    response = getattr(error, "last_response", {})
    configuration = response.get("Configuration", response)
    for member in ("StateReason", "LastUpdateStatusReason"):
        if configuration.get(member):
            return str(configuration[member])
    return str(error)
