"""The command line. `serve` runs a server, `doctor` looks at this host; every other verb is HTTP to a running server.

Exit status: 0 done; 1 the function failed, the server could not start, or the host can isolate nothing; 2 the command
line is wrong; 3 the server refused; 4 no server answers; 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from cyclopts import App, CycloptsError

from lambent.cli.completion import completion
from lambent.cli.deploy import deploy
from lambent.cli.doctor import doctor
from lambent.cli.env import env
from lambent.cli.events import events
from lambent.cli.failure import ExitStatus, explain
from lambent.cli.functions import delete, list_functions
from lambent.cli.invoke import invoke
from lambent.cli.logs import logs
from lambent.cli.runtimes import runtimes
from lambent.cli.serve import serve

app = App(
    name="lambent",
    help="A self-hosted function service that speaks AWS Lambda's own wire API.",
    version=lambda: version("lambent"),
    help_format="plaintext",
)
for verb in (serve, deploy, invoke, logs, delete, runtimes, env, doctor, completion):
    app.command(verb)
app.command(list_functions, name="list")
app.command(events)


def main() -> None:
    """The entry point of the `lambent` program."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit status."""
    try:
        status = app(arguments, exit_on_error=False, result_action="return_int_as_exit_code_else_zero")
        sys.stdout.flush()
        return int(status)
    except CycloptsError:  # it has been printed
        return ExitStatus.USAGE
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitStatus.DONE
    except Exception as exc:
        failure = explain(exc)
        if failure is None:
            raise
        failure.show()
        return failure.status
