"""docs/compatibility.md says what the code does."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from lambent.control import Control
from lambent.frontend.operations import IMPLEMENTED
from lambent.iam.operations import IamApi
from lambent.iam.sts import Sts
from lambent.logs.operations import LogsApi

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "compatibility.md").read_text()


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "script" / "compatibility"))


def listed(heading: str) -> set[str]:
    """The operations that Lambda's section lists below a heading."""
    _, _, rest = PAGE.partition("### Lambda")
    _, _, below = rest.partition(f"\n{heading}:\n")
    table = re.match(r"\s*((?:\|.*\n)+)", below)
    assert table is not None
    return set(re.findall(r"`(\w+)`", table[1]))


def test_the_tables_are_what_the_script_writes(script: dict[str, Any]) -> None:
    if f"botocore {script['BOTOCORE']}." not in PAGE:
        pytest.skip("the page was written for another service model; the tests below hold for each")
    assert script["written"](PAGE) == PAGE, "run script/compatibility"


def test_what_is_listed_as_supported_is_built_and_what_is_refused_is_not() -> None:
    assert listed("Supported") == IMPLEMENTED["lambda"]
    assert not listed("Refused") & IMPLEMENTED["lambda"]


def test_every_operation_that_is_built_exists_at_aws(script: dict[str, Any]) -> None:
    for service, operations in IMPLEMENTED.items():
        assert operations <= set(script["model"](service).operation_names)


def test_what_is_served_is_what_is_listed() -> None:
    parts: Any = None  # nothing is called: only the names are read
    control = Control(
        store=parts,
        blobs=parts,
        code_source=parts,
        event_sources=parts,
        roles=parts,
        activate=parts,
        presign=parts,
        runtimes=(),
        runtime_warning=parts,
    )

    assert {*control.operations, "Invoke", "InvokeAsync", "InvokeWithResponseStream"} == IMPLEMENTED["lambda"]
    assert set(LogsApi(parts).operations) == IMPLEMENTED["logs"]
    assert set(IamApi(parts).operations) == IMPLEMENTED["iam"]
    assert set(Sts(parts, parts, is_open=True).operations) == IMPLEMENTED["sts"]
