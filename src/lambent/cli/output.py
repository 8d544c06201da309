"""Where the command line writes: results to stdout, everything said to a person beside them to stderr."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def print_json(document: object) -> None:
    print(json.dumps(document, indent=2, ensure_ascii=False, default=str))


def messages() -> Console:
    """For what a person should see and a pipe should not carry."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def lines_of(log: str) -> str:
    """What a function has logged, for a terminal: between the lines of a traceback is `\\r`, as on AWS."""
    return log.replace("\r\n", "\n").replace("\r", "\n")


def print_table(table: Table) -> None:
    """In colour on a terminal; in a pipe as wide as it needs to be."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 1000
    console.print(table)


def new_table(*columns: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table
