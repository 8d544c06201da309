"""`lambent events`: asynchronous invokes that wait, and their outcomes, seen and steered; and what mappings read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any  # Any: what the server said, parsed

from cyclopts import App

from lambent.cli.connection import ANY_SERVER, Server
from lambent.cli.output import messages, new_table, print_json, print_table

events = App(
    name="events",
    help="See and steer asynchronous invokes that wait, outcomes that are not yet sent, and what mappings read.",
)

_PAGE = 500


@events.command(name="list")
def list_events(*, function: str | None = None, limit: int = 100, server: Server = ANY_SERVER) -> None:
    """List what waits, oldest first: events to be delivered, and outcomes to be sent.

    Parameters
    ----------
    function:
        Of this function only.
    limit:
        How many at most.
    """
    found = [one for one, _ in zip(_waiting(server, function), range(limit), strict=False)]
    if server.as_json:
        print_json(found)
        return
    table = new_table("ID", "FUNCTION", "WHAT", "STATE", "SINCE", "NEXT ATTEMPT", "ATTEMPTS", "WHY")
    for one in found:
        table.add_row(
            str(one["id"]),
            one["function"].partition(":function:")[2],
            _what(one),
            one["state"],
            _time(one["since_ms"]),
            _time(one["next_attempt_ms"]),
            str(one["attempts"]),
            (one["reason"] or "").replace("\n", " ")[:60],
        )
    print_table(table)


@events.command
def show(id: int, /, *, server: Server = ANY_SERVER) -> None:
    """Show one event or outcome that waits, and its payload.

    Parameters
    ----------
    id:
        As `lambent events list` shows it.
    """
    detail = server.call("GET", f"events/{id}")
    if server.as_json:
        print_json(detail)
        return
    for name, value in detail["event"].items():
        if value is not None:
            print(f"{name + ':':18}{_time(value) if name.endswith('_ms') else value}")
    print(f"\n{detail['body']}")


@events.command
def retry(id: int, /, *, server: Server = ANY_SERVER) -> None:
    """Attempt an event or outcome now.

    Parameters
    ----------
    id:
        As `lambent events list` shows it.
    """
    _report(server, server.call("POST", f"events/{id}/retry"), f"Event {id} is attempted now")


@events.command
def drop(id: int, /, *, server: Server = ANY_SERVER) -> None:
    """Drop an event or outcome: it is gone, and nobody is told.

    Parameters
    ----------
    id:
        As `lambent events list` shows it.
    """
    _report(server, server.call("DELETE", f"events/{id}"), f"Dropped event {id}")


@events.command
def redrive(*, function: str | None = None, server: Server = ANY_SERVER) -> None:
    """Attempt all that is parked: outcomes whose targets refused them for good.

    Parameters
    ----------
    function:
        Of this function only.
    """
    answer = server.call("POST", "events/redrive", function=function)
    _report(server, answer, f"{answer['redriven']} are attempted now")


@events.command
def statistics(*, server: Server = ANY_SERVER) -> None:
    """Print how much waits, for how long, and what became of the events since the server's start."""
    answer = server.call("GET", "events/statistics")
    if server.as_json:
        print_json(answer)
        return
    for name, value in (answer | answer.pop("counts")).items():
        print(f"{name + ':':24}{round(value, 1)}")


@events.command
def mappings(*, function: str | None = None, server: Server = ANY_SERVER) -> None:
    """List event source mappings: how far behind each is, and what became of what it has read since the server's start.

    Parameters
    ----------
    function:
        Of this function only.
    """
    found = server.call("GET", "events/mappings", function=function)["mappings"]
    if server.as_json:
        print_json(found)
        return
    table = new_table(
        "UUID", "FUNCTION", "SOURCE", "STATE", "BEHIND", "READ", "DONE", "FAILED", "DROPPED", "LAST PROBLEM"
    )
    for one in found:
        counts, age_s = one["counts"], one["iterator_age_s"]
        table.add_row(
            one["uuid"],
            one["function"].partition(":function:")[2],
            one["source"].split(":", 5)[5] if one["source"].startswith("arn:") else one["source"],
            one["state"],
            "" if age_s is None else f"{age_s:.0f} s",
            *(str(counts[name]) for name in ("polled", "processed", "failed", "dropped")),
            f"{_time(one['last_problem_ms'])} {one['last_problem'] or ''}".strip()[:80],
        )
    print_table(table)


def _waiting(server: Server, function: str | None) -> Iterator[dict[str, Any]]:
    after = 0
    while after is not None:
        page = server.call("GET", "events", function=function, after=after, limit=_PAGE)
        yield from page["events"]
        after = page["next_after"]


def _what(one: dict[str, Any]) -> str:
    return f"{one['recipient']} {one['target']}" if one["recipient"] else "event"


def _report(server: Server, answer: Any, said: str) -> None:
    if server.as_json:
        print_json(answer)
    else:
        messages().print(said, markup=False)


def _time(epoch_ms: int | None) -> str:
    return "" if epoch_ms is None else f"{datetime.fromtimestamp(epoch_ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
