"""`lambent list` and `lambent delete`."""

from __future__ import annotations

from typing import Any  # Any: what botocore parsed

from lambent.cli.connection import ANY_SERVER, Server
from lambent.cli.output import messages, new_table, print_json, print_table


def list_functions(*, server: Server = ANY_SERVER) -> None:
    """List the functions."""
    pages = server.client().get_paginator("list_functions").paginate()
    functions: list[dict[str, Any]] = [function for page in pages for function in page["Functions"]]
    if server.as_json:
        print_json(functions)
        return
    table = new_table("NAME", "RUNTIME", "HANDLER", "MEMORY", "TIMEOUT", "CODE", "MODIFIED")
    for one in functions:
        table.add_row(
            one["FunctionName"],
            one.get("Runtime", ""),
            one.get("Handler", ""),
            f"{one['MemorySize']} MB",
            f"{one['Timeout']} s",
            f"{one['CodeSize'] / 1024:.1f} KiB",
            one["LastModified"][:19],
        )
    print_table(table)


def delete(name: str, /, *, qualifier: str | None = None, server: Server = ANY_SERVER) -> None:
    """Delete a function with all its versions, or one version.

    Parameters
    ----------
    name:
        The function.
    qualifier:
        Delete this version only.
    """
    parameters = {"FunctionName": name} | ({"Qualifier": qualifier} if qualifier else {})
    server.client().delete_function(**parameters)
    if server.as_json:
        print_json({"Deleted": name, **({"Qualifier": qualifier} if qualifier else {})})
    else:
        messages().print(f"Deleted {name}{':' + qualifier if qualifier else ''}", markup=False)
