"""Floods: whoever makes one drowns in it alone. A bystander is asked after each, and the server is the same one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from containment_target import Target

FLOODS = Path(__file__).with_name("floods").joinpath("app.py").read_text()
BYSTANDER = """
def handler(event, context):
    with open("/tmp/note", "w") as file:
        file.write("well")
    print("well")
    return open("/tmp/note").read()
"""
MIB = 1 << 20


@pytest.fixture(scope="module")
def deployed(target: Target) -> dict[str, str]:
    return {
        "large": target.deploy("floods", FLOODS, MemorySize=2048, Timeout=60),
        "small": target.deploy("hoards", FLOODS, MemorySize=128, Timeout=60),
        "bystander": target.deploy("bystander", BYSTANDER),
    }


@pytest.fixture
def flood(target: Target, deployed: dict[str, str]) -> Iterator[Callable[..., Any]]:
    def call(kind: str, *, size: str = "large") -> Any:
        return target.invoke(deployed[size], kind)

    yield call
    assert target.invoke(deployed["bystander"]) == "well"
    assert target.service.process.poll() is None


def test_a_fork_bomb_stops_at_the_environments_limit(flood: Callable[..., Any]) -> None:
    error, forks = flood("fork")
    assert error == "EAGAIN"
    assert 100 < forks < 1024


def test_threads_are_counted_as_processes_are(flood: Callable[..., Any]) -> None:
    assert 100 < flood("threads") < 1024


def test_descriptors_end_at_a_thousand(flood: Callable[..., Any]) -> None:
    error, opened = flood("descriptors")
    assert error == "EMFILE"
    assert opened < 1024


def test_descriptors_in_flight_are_counted(flood: Callable[..., Any]) -> None:
    error, passed = flood("descriptors_in_flight")
    assert error == "ETOOMANYREFS"
    assert passed <= 2 * 1024


def test_inotify_instances_are_the_functions_own(flood: Callable[..., Any]) -> None:
    error, made = flood("watches")
    assert made < 1000, error


def test_inodes_end_with_ones_own_tmp(flood: Callable[..., Any]) -> None:
    error, made, there_are = flood("inodes")
    assert error == "ENOSPC"
    assert made <= there_are


def test_a_full_tmp_is_ones_own(flood: Callable[..., Any]) -> None:
    error, written_mib = flood("disk")
    assert error == "ENOSPC"
    assert written_mib <= 512


def test_a_sparse_file_takes_no_more_than_tmp_has(flood: Callable[..., Any]) -> None:
    assert flood("sparse") in ("ENOSPC", "EFBIG")


def test_what_connections_hold_unread_is_bounded(flood: Callable[..., Any]) -> None:
    """Each of these 160 would take several MB; all of the host's share what there is."""
    assert flood("connections") < 256


@pytest.mark.parametrize("kind", ["memory", "memfd", "system_v", "shared_mapping"])
def test_memory_of_every_kind_counts_as_the_functions(flood: Callable[..., Any], kind: str) -> None:
    assert flood(kind, size="small")["errorType"] == "Runtime.OutOfMemory"


def test_a_flood_of_output_is_held_back_and_not_held(flood: Callable[..., Any], target: Target) -> None:
    server = psutil.Process(target.service.process.pid)
    flood("sparse")
    before = server.memory_info().rss

    assert flood("output") == "printed"

    assert server.memory_info().rss - before < 96 * MIB


def test_a_function_takes_no_more_of_the_cpu_than_its_share(target: Target, deployed: dict[str, str]) -> None:
    """128 MB are a fourteenth of a CPU, however many processes ask for it; Init, which has a whole one, is over."""
    target.invoke(deployed["small"], "sparse")

    assert target.invoke(deployed["small"], "processor") < 0.5, "of one second of eight processes"
