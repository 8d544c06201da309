"""A rehearsal runs through a whole invocation, and leaves nothing behind that a function could see."""

from __future__ import annotations

import subprocess
from pathlib import Path

CLIENT = Path(__file__).parents[3] / "runtimes" / "python"

REHEARSING = """
import os, sys
sys.path.insert(0, {client!r})
from lambent_runtime import log, loop
from lambent_runtime.rehearsal import rehearse

def visible():
    return [
        set(sys.modules), sys.path, sys.meta_path, sys.path_importer_cache, os.environ, os.listdir("/proc/self/fd"),
        log.current.request_id, log.current.tenant_id,
    ]

before = [type(one)(one) if isinstance(one, list) else dict(one) if hasattr(one, "keys") else one for one in visible()]
invoke, answered = loop.invoke, []
def watched(handler, client, invocation, facts):
    invoke(handler, client, invocation, facts)
    answered.append(invocation.body)
loop.invoke = watched
rehearse()
assert answered == [b'{{"key":"value"}}'], answered
for was, is_now in zip(before, visible()):
    assert was == is_now, (was, is_now)
print("nothing left", end="")
"""


def test_a_rehearsal_leaves_nothing_that_a_function_could_see(python: str) -> None:
    done = subprocess.run([python, "-S", "-c", REHEARSING.format(client=str(CLIENT))], capture_output=True, text=True)

    assert (done.stdout, done.stderr) == ("nothing left", "")
