"""A midwife, as far as it needs no template."""

from __future__ import annotations

import os
from typing import cast

import pytest

from lambent.worker.sandbox import midwife, process_tree
from lambent.worker.sandbox.tracing import Tracee


class Template:
    """Our own process, which has one thread in this."""

    pid = os.getpid()

    def run_to_fork(self) -> None:
        pass


@pytest.mark.parametrize("error", [ProcessLookupError, FileNotFoundError, PermissionError])
def test_what_ends_by_itself_while_a_template_comes_to_rest_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, error: type[OSError]
) -> None:
    """The kernel says each of these of a process that has ended since it was seen."""
    seen = [[1, 2], [2], []]
    asked: list[int] = []

    def kill_beside(pid_1: int, pid: int) -> None:
        asked.append(pid)
        raise error

    monkeypatch.setattr(os, "listdir", lambda path: [str(os.getpid())])
    monkeypatch.setattr(process_tree, "descendants", lambda pid: seen.pop(0))
    monkeypatch.setattr(midwife, "_kill_beside", kill_beside)

    midwife._lay_to_rest(cast(Tracee, Template()), pid_1=0)

    assert asked == [1, 2, 2]
