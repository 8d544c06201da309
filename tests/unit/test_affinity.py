"""One processor for sandboxd, the others for who works for it, and all for functions."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from lambent.worker.sandbox import affinity

_PROGRAM = """
import json, os
from lambent.worker.sandbox import affinity

everywhere = affinity.of_this_process()
affinity.keep_to_one(everywhere)
kept = os.sched_getaffinity(0)
affinity.leave_one(everywhere)
print(json.dumps([everywhere, sorted(kept), sorted(os.sched_getaffinity(0))]))
"""


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="takes two processors")
def test_sandboxd_keeps_to_one_and_who_works_for_it_to_the_others() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    everywhere, kept, left = json.loads(done.stdout)

    assert len(kept) == 1
    assert sorted(kept + left) == everywhere


def test_a_mask_is_whole_words_with_the_least_first() -> None:
    assert affinity.mask([0, 1]) == b"\x03" + bytes(7)
    assert affinity.mask([3, 64]) == b"\x08" + bytes(7) + b"\x01" + bytes(7)
