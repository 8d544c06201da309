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

from lambent import compiled
from lambent.cli.failure import ExitStatus, explain

app = App(
    name="lambent",
    help="A self-hosted function service that speaks AWS Lambda's own wire API.",
    version=lambda: version("lambent"),
    help_format="plaintext",
)
for verb in ("serve", "deploy", "invoke", "logs", "runtimes", "env", "doctor", "events", "completion"):
    app.command(f"lambent.cli.{verb}:{verb}", name=verb)  # each loaded when it is asked for
app.command("lambent.cli.functions:delete", name="delete")
app.command("lambent.cli.functions:list_functions", name="list")


def main() -> None:
    """The entry point of the `lambent` program."""
    compiled.use()
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit status."""
    try:
        if not arguments or arguments[0].startswith("-"):
            app.resolved_commands()  # loads them: the help says what each is for
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
