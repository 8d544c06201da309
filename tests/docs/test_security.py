"""docs/security.md lists every attack on the sandbox that is tried, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from lambent.worker.environment_maker import _AWS_LIMITS, _RUNTIME_API_LIMITS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()
SECTIONS = dict(re.findall(r"^`(test_attack_\w+)\.py`\n(.*?)(?=^### |\Z)", PAGE, re.DOTALL | re.MULTILINE))
MODULES = {path.stem: path.read_text() for path in (ROOT / "tests" / "linux" / "containment").glob("test_*.py")}


def test_every_attack_is_listed_and_every_listed_attack_is_tried() -> None:
    listed = {module: re.findall(r"^\| `(test_\w+)` \|", section, re.MULTILINE) for module, section in SECTIONS.items()}
    tried = {module: re.findall(r"^(?:async )?def (test_\w+)", text, re.MULTILINE) for module, text in MODULES.items()}

    assert listed == tried, "in the order of the files"


def test_every_attack_says_what_the_attacker_gets() -> None:
    rows = re.findall(r"^\| `test_\w+` \|(.*)\|$", PAGE, re.MULTILINE)

    assert len(rows) >= 40
    assert all(row.strip() for row in rows)


def test_the_bounds_of_what_a_function_can_make_the_server_hold_are_those_of_the_code() -> None:
    bounds = re.search(
        r"(\d+)\s+connections to the Runtime API and (\d+) to the inner endpoint, (\d+) MiB and (\d+) MiB", PAGE
    )
    assert bounds is not None
    limits = (_RUNTIME_API_LIMITS, _AWS_LIMITS)

    assert [int(bounds[1]), int(bounds[2])] == [one.connections for one in limits]
    assert [int(bounds[3]), int(bounds[4])] == [round((one.bodies_bytes or 0) / (1 << 20)) for one in limits]
