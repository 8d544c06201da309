"""The control plane under measure: creations a second, a page of many functions, a start over many functions.

Their floors are what the disk takes for two synced writes, and a start over no function at all.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from lambent.model.function import FunctionRecord, FunctionVersion, State, UpdateStatus, function_key
from lambent.model.records import encode
from lambent.testing.service import ROLE, make_zip, running_service

_CODE = {"app.py": "def handler(event, context):\n    return event\n"}


def creations_per_second(client: Any, *, count: int, clients: int) -> float:
    """CreateFunction of the same small package under names of their own."""
    package = make_zip(_CODE)

    def create(number: int) -> None:
        client.create_function(
            FunctionName=f"created-{clients}-{number}",
            Runtime="python3.11",
            Role=ROLE,
            Handler="app.handler",
            Code={"ZipFile": package},
        )

    create(-1)  # the client's first call loads its models
    with ThreadPoolExecutor(clients) as pool:
        began = time.perf_counter()
        list(pool.map(create, range(count)))
        return count / (time.perf_counter() - began)


def synced_writes_per_second(folder: Path, count: int = 50) -> float:
    """What the disk allows: a package and a record, each written and synced, one after the other."""
    began = time.perf_counter()
    for number in range(count):
        for kind in ("package", "record"):
            with (folder / f"{kind}-{number}").open("wb") as file:
                file.write(bytes(2_000))
                file.flush()
                os.fsync(file.fileno())
    return count / (time.perf_counter() - began)


def pages(client: Any, **request: str) -> list[float]:
    """Seconds for each page of ListFunctions, as the client sees it."""
    taken: list[float] = []
    while True:
        began = time.perf_counter()
        page = client.list_functions(**request)
        taken.append(time.perf_counter() - began)
        if "NextMarker" not in page:
            return taken
        request["Marker"] = page["NextMarker"]


def fill(data_dir: Path, count: int) -> None:
    """Put functions into the store of a stopped server."""
    records = (_record(f"function-{number:05}") for number in range(count))
    rows = ((function_key("000000000000", "us-east-1", one.latest.name), encode(one)) for one in records)
    with closing(sqlite3.connect(data_dir / "functions.db")) as connection, connection:
        connection.executemany("INSERT INTO entries (key, value) VALUES (?, ?)", rows)


def start_s(data_dir: Path) -> float:
    """From the start of the process until it answers."""
    began = time.perf_counter()
    with running_service(data_dir, "--egress", "none"):
        return time.perf_counter() - began


@contextmanager
def two_stores() -> Iterator[tuple[Path, Path]]:
    """The data directories of two servers that have started once: one to stay empty, one to be filled."""
    with tempfile.TemporaryDirectory(prefix="lambent-control-") as folder:
        empty, full = Path(folder, "empty"), Path(folder, "full")
        for data_dir in (empty, full):
            start_s(data_dir)
        yield empty, full


def _record(name: str) -> FunctionRecord:
    version = FunctionVersion(
        account="000000000000",
        region="us-east-1",
        name=name,
        role=ROLE,
        runtime="python3.11",
        handler="app.handler",
        environment={"STAGE": "production", "TABLE": name},
        code_blob="0" * 64,
        code_sha256="A" * 43 + "=",
        code_size_bytes=2_000,
        code_unzipped_bytes=4_000,
        last_modified="2026-01-01T00:00:00.000+0000",
        revision_id="00000000-0000-4000-8000-000000000000",
        state=State.ACTIVE,
        last_update_status=UpdateStatus.SUCCESSFUL,
    )
    return FunctionRecord(latest=version, tags={"team": "measure"})
