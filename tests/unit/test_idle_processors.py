"""How a machine's processors idle: what `doctor` says of it, and what the benchmarks do about it while they measure."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.polling import polling

from lambent.worker.sandbox.doctor import idle_processors
from lambent.worker.sandbox.processors import POLL_NS


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    """Of a virtual machine whose idle processors halt at once."""
    write(tmp_path, "devices/system/cpu/cpuidle/current_governor", "haltpoll\n")
    write(tmp_path, POLL_NS, "0\n")
    return tmp_path


def write(sysfs: Path, name: str, text: str) -> None:
    (sysfs / name).parent.mkdir(parents=True, exist_ok=True)
    (sysfs / name).write_text(text)


def test_processors_that_halt_at_once_are_a_hint_with_the_command_that_helps(sysfs: Path) -> None:
    (finding,) = idle_processors(sysfs)

    assert (finding.is_there, finding.is_hint, finding.found) == (False, True, "they halt at once")
    assert f"echo 200000 > /sys/{POLL_NS}" in finding.remedy
    assert f"`w /sys/{POLL_NS} - - - - 200000` in /etc/tmpfiles.d/" in finding.remedy
    assert "haltpoll.guest_halt_poll_ns=200000" in finding.remedy


def test_processors_that_poll_are_as_they_should_be(sysfs: Path) -> None:
    write(sysfs, POLL_NS, "200000\n")

    (finding,) = idle_processors(sysfs)

    assert (finding.is_there, finding.found, finding.remedy) == (True, "for 200 us before they halt", "")


@pytest.mark.parametrize("governor", ["menu", "teo", ""])
def test_nothing_is_said_where_another_governor_decides(sysfs: Path, governor: str) -> None:
    write(sysfs, "devices/system/cpu/cpuidle/current_governor", f"{governor}\n")

    assert idle_processors(sysfs) == []


def test_nothing_is_said_where_there_is_no_governor(tmp_path: Path) -> None:
    assert idle_processors(tmp_path) == []


def test_benchmarks_have_processors_poll_and_put_back_what_was(sysfs: Path) -> None:
    with polling(sysfs=sysfs) as how:
        assert how == "poll for 200 us (was: halt at once)"
        assert (sysfs / POLL_NS).read_text() == "200000"

    assert (sysfs / POLL_NS).read_text() == "0"


def test_what_was_is_put_back_after_an_interrupt_too(sysfs: Path) -> None:
    with pytest.raises(KeyboardInterrupt), polling(sysfs=sysfs):
        raise KeyboardInterrupt

    assert (sysfs / POLL_NS).read_text() == "0"


def test_benchmarks_leave_the_machine_as_it_is_when_told_to(sysfs: Path) -> None:
    with polling(as_it_is=True, sysfs=sysfs) as how:
        assert how == "halt at once"
        assert (sysfs / POLL_NS).read_text() == "0\n"


def test_a_time_that_somebody_has_chosen_is_left(sysfs: Path) -> None:
    write(sysfs, POLL_NS, "50000\n")

    with polling(sysfs=sysfs) as how:
        assert how == "poll for 50 us"

    assert (sysfs / POLL_NS).read_text() == "50000\n"


def test_where_haltpoll_does_not_govern_nothing_is_written(tmp_path: Path) -> None:
    with polling(sysfs=tmp_path) as how:
        assert how == "as Linux has them (no haltpoll)"
