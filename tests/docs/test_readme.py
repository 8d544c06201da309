"""The README's commands run as written, and no page links to what is not there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lambent.testing.service import RunningService

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md"), *ROOT.glob("examples/*/*.md")]
)
EXAMPLES = re.findall(r"(?:^    .*\n)+", README, re.MULTILINE)


def dedented(example: str) -> str:
    return re.sub(r"^    ", "", example, flags=re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())

    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_the_two_commands_are_there() -> None:
    commands = [line.split()[0] for line in dedented(EXAMPLES[0]).splitlines()]

    assert commands == ["script/server", "script/test"]
    assert all(os.access(ROOT / command, os.X_OK) for command in commands)


def test_a_first_function_is_five_lines() -> None:
    assert len(EXAMPLES[2].splitlines()) == 5


def test_the_readme_s_functions_run(service: RunningService, tmp_path: Path) -> None:
    programs = Path(sys.executable).parent
    script = dedented("".join(EXAMPLES[1:4])).replace("http://127.0.0.1:9400", service.endpoint_url)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"

    done = subprocess.run(
        ["bash", "-euxc", script],
        cwd=tmp_path,
        env={**service.environment(), "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
    )

    assert done.returncode == 0, done.stderr
    assert "Hello, Ada" in done.stdout
    assert "REPORT RequestId" in done.stdout
    assert (tmp_path / "answer.json").read_text() == '"Hello, world"'
