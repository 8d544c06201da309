"""When sandboxd does what can wait: gives sandboxes back, and makes some ahead."""

from __future__ import annotations

import pytest

from lambent.worker.sandbox.sandboxd import chores_due


@pytest.mark.parametrize(
    ("waiting", "is_idle", "steps"), [(0, True, 1), (63, True, 1), (63, False, 0), (640, True, 10)]
)
def test_the_more_wait_the_more_are_done_before_the_next_request(waiting: int, is_idle: bool, steps: int) -> None:
    assert chores_due(waiting, is_idle=is_idle) == steps


def test_sandboxes_that_end_are_given_back_as_fast_as_others_are_made() -> None:
    """Requests never cease, and each ending takes more steps than there are requests in its sandbox's life."""
    waiting, requests_per_sandbox, steps_per_ending, steps_left = 0, 5, 12, 0
    for _ in range(2_000):
        waiting += 1
        for _ in range(requests_per_sandbox):
            steps_left += chores_due(waiting, is_idle=False)
            done, steps_left = divmod(steps_left, steps_per_ending)
            waiting = max(0, waiting - done)

    assert waiting < 300
