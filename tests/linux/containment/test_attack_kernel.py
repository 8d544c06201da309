"""Out through the kernel: the system calls that no function needs, and the ways past the filter."""

from __future__ import annotations

from typing import Any

Found = dict[str, Any]


def test_the_kernels_keyrings_are_closed(found: Found) -> None:
    assert set(found["keyrings"].values()) == {"EPERM"}


def test_large_interfaces_of_the_kernel_are_closed(found: Found) -> None:
    outcomes = found["large_interfaces"]
    assert outcomes.pop("userfaultfd_device") == "ENOENT"
    assert outcomes.pop("cachestat") == "ENOSYS"
    assert set(outcomes.values()) == {"EPERM"}


def test_there_is_no_io_uring(found: Found) -> None:
    assert set(found["io_uring"]) == {"ENOSYS"}


def test_what_is_counted_for_the_whole_host_cannot_be_used_up(found: Found) -> None:
    assert found["kernel_aio"] == "ENOSYS"
    assert found["message_queues"] == "EMFILE"


def test_the_machine_is_not_the_functions(found: Found) -> None:
    assert set(found["the_machine"].values()) == {"EPERM"}


def test_no_clock_can_be_changed(found: Found) -> None:
    outcomes = found["clocks"]
    assert outcomes.pop("unchanged")
    assert set(outcomes.values()) == {"EPERM"}


def test_defences_cannot_be_switched_off(found: Found) -> None:
    assert found["personality"] == {"changed": ["EPERM"] * 4, "asked": "done"}
    assert found["map_page_zero"] == "EPERM"


def test_the_32_bit_system_calls_are_not_there(found: Found) -> None:
    assert set(found["the_32_bit_door"].values()) <= {-38, "SIGSEGV"}, "ENOSYS, or a kernel without them"


def test_the_x32_system_calls_are_not_there(found: Found) -> None:
    assert found["the_x32_door"] == ["ENOSYS"]


def test_system_calls_that_nobody_has_looked_at_are_not_there(found: Found) -> None:
    assert found["calls_of_tomorrow"] == ["ENOSYS"]


def test_the_filter_cannot_be_shaken_off(found: Found) -> None:
    outcomes = found["shake_off_the_filter"]
    assert outcomes.pop("mount_in_an_executed_child") != 0
    assert outcomes == {"off": -1, "privileges": -1}


def test_huge_pages_that_no_cgroup_counts_cannot_be_had(found: Found) -> None:
    assert found["huge_pages"] == {"mmap": "ENOMEM", "memfd": "EINVAL", "shm": "EPERM"}


def test_nothing_is_typed_into_a_terminal(found: Found) -> None:
    outcomes = found["line_disciplines"]
    assert outcomes["TIOCSTI"] == outcomes["TIOCLINUX"] == outcomes["TIOCSETD"] == ["EPERM"]
    assert outcomes["TIOCSTI with high bits"] == ["EPERM"]
    assert outcomes["a terminal"] == ["ENOENT"] * 3
