"""docs/events.md names for each rule the tests that hold it: they exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "events.md").read_text()


def test_every_test_that_holds_a_rule_exists() -> None:
    modules = [path.read_text() for path in (ROOT / "tests").glob("*/test_*.py")]
    tests = {name for module in modules for name in re.findall(r"^(?:async )?def (test_\w+)", module, re.MULTILINE)}

    assert set(re.findall(r"`(test_\w+)`", PAGE)) <= tests


def test_every_rule_is_held_by_a_test() -> None:
    rules = re.findall(r"^\| (?!Rule )(.+?) \| (.*) \|$", PAGE, re.MULTILINE)

    assert len(rules) >= 60
    assert [rule for rule, held_by in rules if "`test_" not in held_by] == []
