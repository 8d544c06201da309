"""Out through the mount tree: no mount can be made, changed or taken away, and no path leads above the root."""

from __future__ import annotations

from typing import Any

Found = dict[str, Any]


def test_nothing_can_be_mounted(found: Found) -> None:
    assert set(found["mount_something"].values()) == {"EPERM"}


def test_nothing_can_be_mounted_by_the_newer_calls(found: Found) -> None:
    outcomes = found["mount_by_the_new_calls"]
    assert outcomes.pop("open_tree_attr") == "ENOSYS", "newer than what the filter knows"
    assert set(outcomes.values()) == {"EPERM"}


def test_no_mount_can_be_made_writable(found: Found) -> None:
    assert set(found["remount_writable"].values()) == {"EPERM"}


def test_no_mount_can_be_taken_away(found: Found) -> None:
    assert {error for errors in found["unmount"].values() for error in errors} == {"EPERM"}


def test_the_root_cannot_be_changed(found: Found) -> None:
    assert set(found["change_the_root"].values()) == {"EPERM"}


def test_no_path_and_no_descriptor_leads_above_the_root(found: Found) -> None:
    assert set(found["climb_above_the_root"].values()) == {"the root"}


def test_no_file_is_opened_by_its_handle(found: Found) -> None:
    outcomes = found["open_by_handle"]
    assert outcomes.pop("by_libc") == -1
    assert set(outcomes.values()) == {"EPERM"}


def test_the_mounts_one_sees_are_ones_own(found: Found) -> None:
    places = set(found["leak_of_mounts"])
    assert {"/", "/usr", "/dev", "/proc", "/tmp", "/etc/passwd", "/var/task", "/var/runtime"} <= places
    others = {place for place in places if not place.startswith("/proc/")}
    assert others <= {
        *("/", "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/dev", "/proc", "/tmp", "/etc/passwd"),
        *("/var/task", "/var/runtime", "/var/lang", "/opt"),
    }
