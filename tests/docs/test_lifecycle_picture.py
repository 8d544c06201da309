"""The picture in the docs is the table in the code."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_picture_is_drawn_from_the_table() -> None:
    script = runpy.run_path(str(ROOT / "script" / "lifecycle-picture"))

    assert (ROOT / "docs" / "lifecycle.md").read_text() == script["HEAD"] + script["picture"]()
