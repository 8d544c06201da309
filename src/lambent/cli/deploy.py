"""`lambent deploy`: from a directory to a function that can be invoked."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any  # Any: botocore's clients are made at run time and have no types

from cyclopts import Parameter

from lambent.cli.connection import ANY_SERVER, Server
from lambent.cli.default_role import default_role
from lambent.cli.failure import ExitStatus, Failure
from lambent.cli.output import messages, print_json
from lambent.cli.package import Entry, find_entry, make_package, name_of
from lambent.cli.stack.template import is_template
from lambent.cli.upload import shown_upload

_RUNTIMES = {
    "python": [f"python3.{minor}" for minor in range(14, 7, -1)],
    "nodejs": [f"nodejs{major}.x" for major in (24, 22, 20, 18)],
}
"""AWS's, the newest first."""
_DEFAULTS = {"python": "python3.12", "nodejs": "nodejs22.x"}
_WAIT = {"Delay": 0.1, "MaxAttempts": 3000}


@dataclass(frozen=True, slots=True)
class Deployed:
    """What came of it."""

    configuration: dict[str, Any]
    outcome: str
    """`created`, `updated` or `unchanged`"""
    warning: str | None


def deploy(
    path: Path,
    /,
    *,
    name: str | None = None,
    handler: str | None = None,
    runtime: str | None = None,
    memory: int | None = None,
    timeout: int | None = None,
    env: Annotated[list[str] | None, Parameter(negative=())] = None,
    role: str | None = None,
    parameter: Annotated[list[str] | None, Parameter(negative=())] = None,
    delete: Annotated[bool, Parameter(negative=())] = False,
    server: Server = ANY_SERVER,
) -> None:
    """Create or update a function from files, wait until it is active, and print its ARN; or a stack from a template.

    Parameters
    ----------
    path:
        A directory, a .zip, a single file; or a SAM template, .yaml or .yml.
    name:
        The function; without it, the name of the directory or file. Of a template: the stack; without it, the name of
        the template's directory.
    handler:
        Where it begins, e.g. app.handler; without it, looked for in app, lambda_function, main, handler, index.
    runtime:
        E.g. python3.12; without it, provided.al2023 for an executable `bootstrap`, else the server's newest Python or
        Node.js, by the language of the handler.
    memory:
        Memory in MB.
    timeout:
        Seconds that an invoke may take.
    env:
        KEY=VALUE for the function's environment; all of them together replace what it had. Repeatable.
    role:
        ARN of the role that it runs as; without it, one named lambda-role, made where there is none.
    parameter:
        KEY=VALUE for a parameter of the template. Repeatable.
    delete:
        Remove what the template was deployed as.
    """
    of_function = {
        "handler": handler,
        "runtime": runtime,
        "memory": memory,
        "timeout": timeout,
        "env": env,
        "role": role,
    }
    of_stack = {"parameter": parameter, "delete": delete or None}
    _require_absent(of_function if is_template(path) else of_stack, is_template(path))
    if is_template(path):
        from lambent.cli.stack.deployment import delete_stack, deploy_stack
        from lambent.cli.stack.parameters import given_parameters

        act = delete_stack if delete else deploy_stack
        act(server, path, name or name_of(path.resolve().parent), given_parameters(parameter or ()))
        return
    package = make_package(path)
    settings = _settings(handler=handler, runtime=runtime, memory=memory, timeout=timeout, env=env, role=role)
    deployed = _deploy(server, name or name_of(path), package, settings)
    _show(deployed, as_json=server.as_json)


def _require_absent(options: Mapping[str, object], is_of_template: bool) -> None:
    given = [f"--{name}" for name, value in options.items() if value is not None]
    if given:
        rest = "a template says it itself" if is_of_template else "it is about templates"
        raise Failure(f"{', '.join(given)} cannot be used here: {rest}", status=ExitStatus.USAGE)


def _settings(
    *,
    handler: str | None,
    runtime: str | None,
    memory: int | None,
    timeout: int | None,
    env: list[str] | None,
    role: str | None,
) -> dict[str, Any]:
    """What was asked for, in AWS's members."""
    members = {"Handler": handler, "Runtime": runtime, "MemorySize": memory, "Timeout": timeout, "Role": role}
    settings: dict[str, Any] = {member: value for member, value in members.items() if value is not None}
    if env is not None:
        settings["Environment"] = {"Variables": dict(_variable(pair) for pair in env)}
    return settings


def _variable(pair: str) -> tuple[str, str]:
    key, separator, value = pair.partition("=")
    if not key or not separator:
        raise Failure(f"--env must be KEY=VALUE, found {pair!r}", status=ExitStatus.USAGE)
    return key, value


def _deploy(server: Server, name: str, package: bytes, settings: dict[str, Any]) -> Deployed:
    client = server.client()
    try:
        existing = client.get_function_configuration(FunctionName=name)
    except client.exceptions.ResourceNotFoundException:
        return _create(server, client, name, package, settings)
    return _update(client, existing, package, settings)


def _create(server: Server, client: Any, name: str, package: bytes, settings: dict[str, Any]) -> Deployed:
    complete = {**_entry_settings(server, package, settings), **settings}
    if "Role" not in complete:
        complete["Role"] = default_role(server)
    with shown_upload(client, "CreateFunction"):
        answer = client.create_function(FunctionName=name, Code={"ZipFile": package}, **complete)
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig=_WAIT)
    return Deployed(client.get_function_configuration(FunctionName=name), "created", _warning(answer))


def _update(client: Any, existing: dict[str, Any], package: bytes, settings: dict[str, Any]) -> Deployed:
    """Send only what differs, and wait for each step: AWS refuses a second update while one is under way."""
    name, warning, outcome = existing["FunctionName"], None, "unchanged"
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig=_WAIT)
    if existing["CodeSha256"] != base64.b64encode(hashlib.sha256(package).digest()).decode():
        with shown_upload(client, "UpdateFunctionCode"):
            client.update_function_code(FunctionName=name, ZipFile=package)
        client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=_WAIT)
        outcome = "updated"
    changed = {member: value for member, value in settings.items() if existing.get(member) != value}
    if changed:
        warning = _warning(client.update_function_configuration(FunctionName=name, **changed))
        client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=_WAIT)
        outcome = "updated"
    return Deployed(client.get_function_configuration(FunctionName=name), outcome, warning)


def _entry_settings(server: Server, package: bytes, settings: dict[str, Any]) -> dict[str, str]:
    """Handler and runtime as found in the package, for what was not asked for."""
    if settings.get("Runtime", "").startswith("provided"):
        return {"Handler": "bootstrap"}
    entry = None if {"Handler", "Runtime"} <= settings.keys() else find_entry(package)
    if entry is None and "Handler" in settings:
        entry = Entry(handler=settings["Handler"])
    if entry is None:
        raise Failure(
            "No handler was found in the package, and no executable `bootstrap`.",
            status=ExitStatus.USAGE,
            hint="Say where it begins, e.g. --handler app.handler",
        )
    runtime = settings.get("Runtime") or entry.runtime or _newest(server, entry.language)
    return {"Handler": entry.handler, "Runtime": runtime}


def _newest(server: Server, language: str) -> str:
    """The newest runtime of a language that the server's host has, and AWS has as well."""
    installed = [one["runtime"] for one in server.document("runtimes") if one["runtime"].startswith(language)]
    return next((runtime for runtime in _RUNTIMES[language] if runtime in installed), _DEFAULTS[language])


def _warning(answer: dict[str, Any]) -> str | None:
    warning: str | None = answer["ResponseMetadata"]["HTTPHeaders"].get("x-lambent-warning")
    return warning


def _show(deployed: Deployed, *, as_json: bool) -> None:
    configuration = {key: value for key, value in deployed.configuration.items() if key != "ResponseMetadata"}
    if as_json:
        print_json({**configuration, "Outcome": deployed.outcome, "Warning": deployed.warning})
        return
    console = messages()
    if deployed.warning:
        console.print("warning:", style="bold yellow", end=" ")
        console.print(deployed.warning, markup=False)
    runs = f"{configuration['Runtime']}, {configuration['Handler']}, {configuration['MemorySize']} MB"
    console.print(f"{deployed.outcome.capitalize()} {configuration['FunctionName']} ({runs})", markup=False)
    print(configuration["FunctionArn"])
