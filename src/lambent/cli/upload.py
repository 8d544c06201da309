"""Send a package with a bar that shows how far it is, on a terminal."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any  # Any: botocore's clients and requests have no types

from lambent.cli.output import messages


class _Counted(io.BytesIO):
    """A request body that tells how much of it has been read."""

    def __init__(self, body: bytes, read: Callable[[int], None]) -> None:
        super().__init__(body)
        self._read = read

    def read(self, size: int | None = -1, /) -> bytes:
        chunk = super().read(size)
        self._read(len(chunk))
        return chunk


@contextmanager
def shown_upload(client: Any, operation: str) -> Iterator[None]:
    """Show the progress of this client's calls of one operation."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    console = messages()
    columns = (TextColumn("Uploading"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)

    def count(request: Any, **_: Any) -> None:
        task = progress.add_task("upload", total=len(request.body))
        request.body = _Counted(request.body, lambda size: progress.advance(task, size))

    event = f"before-send.lambda.{operation}"
    client.meta.events.register(event, count)
    with progress:
        yield
    client.meta.events.unregister(event, count)
