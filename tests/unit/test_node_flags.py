"""What Node.js is started with follows from its version, the function's memory, and what the function says itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from lambent.worker.node_flags import node_flags
from lambent.worker.runtimes import Interpreter


def node(version: str) -> Interpreter:
    prefix = Path("/usr")
    runtime = f"nodejs{version.partition('.')[0]}.x"
    return Interpreter(runtime=runtime, version=version, executable=prefix / "bin/node", prefix=prefix, source="usr")


def test_the_heap_fits_into_the_functions_memory() -> None:
    assert node_flags(node("18.20.0"), 128, "") == (
        "--expose-gc",
        "--max-http-header-size=81920",
        "--max-semi-space-size=6",
        "--max-old-space-size=115",
    )
    assert "--max-semi-space-size=16" in node_flags(node("18.20.0"), 10_240, "")


@pytest.mark.parametrize(
    ("version", "flags"),
    [
        ("18.20.0", []),
        ("20.16.0", []),
        ("20.17.0", ["--no-experimental-require-module"]),
        ("22.11.0", ["--no-experimental-require-module", "--no-experimental-detect-module"]),
        ("24.0.0", []),
    ],
)
def test_experimental_features_are_off_where_aws_turns_them_off(version: str, flags: list[str]) -> None:
    assert [flag for flag in node_flags(node(version), 128, "") if "experimental" in flag] == flags


@pytest.mark.parametrize("option", ["--max-old-space-size=99", "--max_old_space_size=99"])
def test_what_the_function_sets_is_left_to_it(option: str) -> None:
    flags = node_flags(node("22.11.0"), 128, f"--experimental-require-module {option}")

    assert flags == (
        "--expose-gc",
        "--max-http-header-size=81920",
        "--max-semi-space-size=6",
        "--no-experimental-detect-module",
    )
