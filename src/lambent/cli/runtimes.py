"""`lambent runtimes`: which interpreters the server found on its host."""

from __future__ import annotations

from lambent.cli.connection import ANY_SERVER, Server
from lambent.cli.output import new_table, print_json, print_table


def runtimes(*, server: Server = ANY_SERVER) -> None:
    """List the runtimes that the server can run, and the interpreter of each."""
    found = server.document("runtimes")
    if server.as_json:
        print_json(found)
        return
    table = new_table("RUNTIME", "VERSION", "FOUND IN", "EXECUTABLE")
    for one in found:
        table.add_row(one["runtime"], one["version"], one["source"], one["executable"])
    print_table(table)
