"""Out through files: what others run cannot be changed, and no link and no device leads to the host."""

from __future__ import annotations

from typing import Any

Found = dict[str, Any]


def test_no_program_and_no_library_can_be_opened_for_writing(found: Found) -> None:
    assert set(found["write_where_code_is"].values()) <= {"EACCES", "EROFS", "ETXTBSY"}


def test_no_file_can_be_made_outside_tmp(found: Found) -> None:
    assert set(found["make_new_files"].values()) == {"EROFS"}


def test_nothing_outside_tmp_can_be_changed_without_opening_it(found: Found) -> None:
    outcomes = found["change_whats_there"]
    assert outcomes["link"] == outcomes["rename"] == "EXDEV"
    assert set(outcomes.values()) <= {"EROFS", "EXDEV", "EACCES"}


def test_what_is_open_for_reading_is_not_written_through_proc(found: Found) -> None:
    assert set(found["write_through_proc"].values()) <= {"EACCES", "EROFS", "ETXTBSY"}


def test_links_in_tmp_lead_nowhere_else(found: Found) -> None:
    assert found["links_out_of_tmp"] == {"up": True, "server": "ENOENT", "memory": "ENOENT", "hard": "EXDEV"}


def test_the_hosts_secrets_are_not_there(found: Found) -> None:
    outcomes = found["secrets_of_the_host"]
    assert outcomes.pop("/home") == []
    assert set(outcomes.values()) == {"ENOENT"}


def test_the_root_holds_nothing_of_the_host_but_its_programs(found: Found) -> None:
    assert set(found["what_the_root_holds"]) <= {
        *("bin", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32", "opt", "proc", "root", "run", "sbin"),
        *("tmp", "usr", "var"),
        "node_modules",  # a link into the layers: ES modules are looked for upwards, not where NODE_PATH says
    }


def test_files_that_all_sandboxes_share_cannot_be_held(found: Found) -> None:
    assert found["layers_of_the_root"] == {"lease": "EACCES", "flags": "EROFS", "freeze": "EPERM", "trim": "EPERM"}


def test_no_device_can_be_made(found: Found) -> None:
    assert found["make_devices"] == {
        "memory": "EPERM",
        "disk": "EPERM",
        "null": "EPERM",
        "pipe": "done",
        "works_in_tmp": False,
    }


def test_there_are_five_devices_and_none_of_the_host(found: Found) -> None:
    devices = {name: kind for name, kind in found["what_devices_there_are"].items() if kind != "l"}
    assert devices == {"full": "1:7", "null": "1:3", "random": "1:8", "urandom": "1:9", "zero": "1:5"}
    assert found["devices_of_the_host"] == ["ENOENT"]


def test_devices_cannot_be_changed(found: Found) -> None:
    assert found["change_devices"] == {"chmod": "EROFS", "unlink": "EROFS", "seed": "EPERM"}
