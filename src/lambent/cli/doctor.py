"""`lambent doctor`: what this host can give a sandbox, and what to do about the rest."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from lambent.cli.failure import ExitStatus
from lambent.cli.output import new_table, print_json, print_table

if TYPE_CHECKING:
    from lambent.worker.sandbox.doctor import Finding, HostReport

_LEVELS = {
    "full": "every environment behind all walls, under a host uid of its own",
    "userns": "every environment behind all walls, but all under your own host uid",
    "process": "nothing can be isolated: for development only, and on loopback only",
}


def doctor(*, as_json: Annotated[bool, Parameter(name="--json", negative=())] = False) -> int:
    """Examine this host: which isolation it reaches for the user who asks, and why. No server is needed.

    Parameters
    ----------
    as_json:
        Print JSON, and nothing else, on stdout.
    """
    from lambent.worker.sandbox.doctor import probe

    report = probe()
    if as_json:
        print_json(asdict(report))
    else:
        _show(report)
    return ExitStatus.FAILED if report.level == "process" else ExitStatus.DONE


def _show(report: HostReport) -> None:
    from rich.text import Text

    print(f"Isolation: {report.level} ({_LEVELS[report.level]})\n")
    table = new_table("", "", "FOUND")
    for finding in report.findings:
        table.add_row(Text(*_mark(finding)), finding.name, finding.found)
    print_table(table)
    for finding in report.findings:
        if not finding.is_there:
            _advise(finding)


def _mark(finding: Finding) -> tuple[str, str]:
    if finding.is_there:
        return "yes", "green"
    return ("hint", "yellow") if finding.is_hint else ("no", "bold red")


def _advise(finding: Finding) -> None:
    if finding.is_hint:
        print(f"\nWith {finding.name} {finding.meaning}. Nothing else depends on it.")
    else:
        print(f"\nWithout {finding.name} it does not hold that {finding.meaning}.")
    if finding.remedy:
        print(f"To have it: {finding.remedy}.")
