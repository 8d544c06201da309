"""SnapStart, from inside: be the template of a version after its Init, and one environment of it after each fork.

Imported only where the version has SnapStart.
"""

from __future__ import annotations

import gc
import os
import sys
import threading

from lambent_runtime import log
from lambent_runtime.client import RuntimeClient
from lambent_runtime.errors import ErrorReport
from lambent_runtime.fault import Fault
from lambent_runtime.restored import Restored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from snapshot_restore_py import Registered

_BEFORE_FAILED, _AFTER_FAILED = 64, 65
"""Exit statuses, as AWS's."""


def take(client: RuntimeClient) -> RuntimeClient:
    """Hold this process for environments to be forked from; returns in each of them, ready to ask for invocations."""
    _run_hooks_before(client)
    _tell_of_threads()
    log.flush()
    restored = Restored()
    client.wait_for_restore()
    gc.collect()
    gc.freeze()  # environments share these pages as long as nobody writes to them
    os.fork()  # for good: whoever holds this process has it fork, walls in what is born, and never lets it return
    restored.become()
    client = RuntimeClient(os.environ["AWS_LAMBDA_RUNTIME_API"])
    _run_hooks_after(client)
    return client


def _run_hooks_before(client: RuntimeClient) -> None:
    import snapshot_restore_py

    try:
        _run(reversed(snapshot_restore_py.get_before_snapshot()))
    except Exception as exc:
        report = _report("Runtime.BeforeSnapshotError", exc)
        client.post_init_error(report.body(), report.headers())
        sys.exit(_BEFORE_FAILED)


def _run_hooks_after(client: RuntimeClient) -> None:
    import snapshot_restore_py

    try:
        _run(snapshot_restore_py.get_after_restore())
    except Exception as exc:
        report = _report("Runtime.AfterRestoreError", exc)
        client.post_restore_error(report.body(), report.headers())
        sys.exit(_AFTER_FAILED)
    log.flush()


def _run(hooks: Sequence[Registered]) -> None:
    for func, args, kwargs in hooks:
        func(*args, **kwargs)


def _report(error_type: str, exc: Exception) -> ErrorReport:
    """In the log as it was raised; to the platform by AWS's word for it."""
    raised = ErrorReport(exc)
    raised.write_to_log()
    log.flush()
    return ErrorReport(Fault(error_type, str(exc), tuple(raised.stack_trace)))


def _tell_of_threads() -> None:
    """Say which threads will be missed: a fork has only the thread that forks."""
    names = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    if names:
        log.write_event(
            f"LAMBENT_WARNING: Init has started {len(names)} thread(s) that restored environments do not have: "
            f"{', '.join(names)}. Start them in an after-restore hook."
        )
