"""Out through /proc, /sys or cgroupfs: nothing of the host can be changed there, and none of its secrets read."""

from __future__ import annotations

from typing import Any

Found = dict[str, Any]


def test_no_setting_of_the_kernel_can_be_written(found: Found) -> None:
    outcomes = found["write_kernel_settings"]
    assert set(outcomes.values()) <= {"EACCES", "EPERM", "ENOENT"}
    assert outcomes["/proc/sys/kernel/core_pattern"] == outcomes["/proc/sys/vm/drop_caches"] == "EACCES"


def test_nothing_in_proc_is_open_for_writing_but_a_setting_that_then_refuses(found: Found) -> None:
    assert found["writable_in_proc"] in ([], ["/proc/sys/kernel/ns_last_pid"])
    assert found["write_kernel_settings"]["/proc/sys/kernel/ns_last_pid"] in ("EPERM", "ENOENT")


def test_the_kernels_memory_and_tables_cannot_be_read(found: Found) -> None:
    assert set(found["read_kernel_secrets"].values()) <= {"EACCES", "EPERM", "ENOENT"}


def test_what_tells_about_the_host_is_empty(found: Found) -> None:
    outcomes = found["read_masked_files"]
    assert outcomes.pop("/proc/pressure") == []
    assert {"/proc/cmdline", "/proc/interrupts", "/proc/kallsyms"} <= outcomes.keys()
    assert set(outcomes.values()) == {""}


def test_no_address_of_the_kernel_is_told(found: Found) -> None:
    assert found["kernel_addresses"] == {"iomem": ["00000000-00000000"], "stack": "EACCES", "wchan": "0"}


def test_sysrq_is_out_of_reach(found: Found) -> None:
    assert found["press_sysrq"] in ("not there", "/dev/null")


def test_only_ones_own_processes_are_seen(found: Found) -> None:
    seen = found["other_processes"]
    own = seen.pop("own")
    assert own <= 3, "PID 1, and who has furnished a restored environment, came before it"
    assert seen == {"seen": [own], "pid_1": "ENOENT", "host": "ENOENT"}


def test_nothing_of_pid_1_is_shown(found: Found) -> None:
    assert set(found["root_of_pid_1"]) == {"ENOENT"}


def test_a_function_stays_the_first_to_die_when_memory_runs_out(found: Found) -> None:
    assert found["escape_the_oom_killer"] == {"now": "1000", "lower": ["EACCES"] * 3}


def test_there_is_no_sysfs(found: Found) -> None:
    assert set(found["sysfs"].values()) == {"ENOENT"}


def test_there_is_no_cgroup_file_system_to_escape_by(found: Found) -> None:
    assert found["control_groups"] == {"own": ["/"], "mounted": [], "directory": "ENOENT"}


def test_no_security_label_can_be_chosen(found: Found) -> None:
    assert set(found["security_modules"]) <= {"EINVAL", "EACCES", "EPERM", "ENOENT"}
