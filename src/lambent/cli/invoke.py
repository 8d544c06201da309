"""`lambent invoke`: run a function once and print what it answered."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Annotated, Any  # Any: what botocore and JSON parsed

from cyclopts import Parameter

from lambent.cli.connection import ANY_SERVER, Server
from lambent.cli.failure import ExitStatus
from lambent.cli.output import lines_of, messages, print_json


def invoke(
    name: str,
    /,
    *,
    payload: Annotated[str, Parameter(allow_leading_hyphen=True)] = "{}",
    qualifier: str | None = None,
    log: Annotated[bool, Parameter(negative=())] = False,
    raw: Annotated[bool, Parameter(negative=())] = False,
    server: Server = ANY_SERVER,
) -> int:
    """Run a function once and print its answer; exit status 1 if the function failed.

    Parameters
    ----------
    name:
        The function.
    payload:
        The event: JSON, @FILE, or - for stdin.
    qualifier:
        A version or alias, instead of $LATEST.
    log:
        Print the end of the invocation's log on stderr.
    raw:
        Print the answer byte by byte as it came, errors too.
    """
    parameters = {"FunctionName": name, "Payload": _event(payload), "LogType": "Tail" if log else "None"}
    response = server.client().invoke(**parameters, **({"Qualifier": qualifier} if qualifier else {}))
    answer: bytes = response["Payload"].read()
    log_tail = base64.b64decode(response.get("LogResult", "")).decode(errors="replace")
    if server.as_json:
        print_json(_summary(response, answer, log_tail if log else None))
    else:
        _show(answer, log_tail, is_raw=raw, is_error="FunctionError" in response)
    return ExitStatus.FAILED if "FunctionError" in response else ExitStatus.DONE


def _event(payload: str) -> bytes:
    if payload == "-":
        return sys.stdin.buffer.read()
    if payload.startswith("@"):
        return Path(payload[1:]).read_bytes()
    return payload.encode()


def _summary(response: dict[str, Any], answer: bytes, log_tail: str | None) -> dict[str, Any]:
    """AWS's members, with the payload as JSON and the log as text."""
    members = ("StatusCode", "ExecutedVersion", "FunctionError")
    summary = {member: response[member] for member in members if member in response}
    return {**summary, "Payload": _parsed(answer), **({"LogResult": log_tail} if log_tail is not None else {})}


def _show(answer: bytes, log_tail: str, *, is_raw: bool, is_error: bool) -> None:
    if log_tail:
        messages().print(lines_of(log_tail), style="dim", markup=False, end="")
    if is_raw:
        sys.stdout.buffer.write(answer)
    elif is_error:
        _show_error(_parsed(answer))
    else:
        print_json(_parsed(answer))


def _parsed(answer: bytes) -> Any:
    """JSON, or as text what a custom runtime answered instead."""
    try:
        return json.loads(answer)
    except ValueError:
        return answer.decode(errors="replace")


def _show_error(error: Any) -> None:
    console = messages()
    if not isinstance(error, dict):  # a custom runtime may answer anything
        error = {"errorMessage": json.dumps(error)}
    console.print(error.get("errorType", "Unhandled"), style="bold red", end=": ", markup=False)
    console.print(error.get("errorMessage", ""), markup=False)
    for line in error.get("stackTrace") or ():
        console.print(str(line).rstrip("\n"), style="dim", markup=False)
