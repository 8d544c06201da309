"""Out through other processes, through privileges, or through what was left open."""

from __future__ import annotations

from typing import Any

Found = dict[str, Any]


def test_nobody_can_be_traced(found: Found) -> None:
    assert set(found["trace"].values()) == {"EPERM"}


def test_pid_1_cannot_be_reached_into(found: Found) -> None:
    outcomes = found["reach_into_pid_1"]
    assert outcomes.pop("memory") == "ENOENT"
    assert set(outcomes.values()) == {"EPERM"}


def test_pid_1_outlives_every_signal(found: Found) -> None:
    assert found["signal_pid_1"] == "done", "it is there to be sent nothing"


def test_no_signal_reaches_the_host(found: Found) -> None:
    outcomes = found["signal_the_host"]
    assert outcomes["server"] == outcomes["server_group"] == outcomes["server_pidfd"] == "ESRCH"


def test_no_namespace_can_be_made(found: Found) -> None:
    assert {error for errors in found["nested_namespaces"].values() for error in errors} == {"EPERM"}


def test_no_namespace_is_made_by_flags_that_hide_from_the_filter(found: Found) -> None:
    assert found["user_namespace_hidden_in_the_upper_half"] == {
        "with_high_bits": "EPERM",
        "unshare_with_high_bits": "EPERM",
        "clone3": "ENOSYS",
    }


def test_no_namespace_can_be_entered(found: Found) -> None:
    assert found["enter_namespaces"] == ["EPERM"]
    assert set(found["namespaces_above"].values()) == {"EPERM"}


def test_nobody_becomes_root(found: Found) -> None:
    outcomes = found["become_root"]
    uid = found["privileges"]["uid"]
    assert outcomes.pop("setfsuid") in ([uid, True], None)
    assert set(outcomes.values()) <= {"EPERM", _refusal(found)}


def _refusal(found: Found) -> str:
    """The user namespace of a restored environment knows no uid but its own."""
    return "EINVAL" if found["started"] == "restored" else "EPERM"


def test_no_capability_is_held_or_can_be_had(found: Found) -> None:
    held = found["privileges"]
    assert held["capabilities"] == ["0" * 16] * 5
    assert held["confined"] == ["1", "2"], "no new privileges, and a filter"
    assert [held["raise"], held["ambient"], held["securebits"]] == ["EPERM", -1, -1]


def test_the_uid_is_nobody_elses_on_the_host(found: Found) -> None:
    held = found["privileges"]
    assert held["uid"] > 1_000_000_000
    assert held["uids"] == 1
    assert held["groups"] == []


def test_setuid_programs_of_the_host_run_as_whoever_starts_them(found: Found) -> None:
    assert set(found["setuid_programs"].values()) == {True}


def test_a_setuid_program_of_ones_own_is_a_program(found: Found) -> None:
    assert found["own_setuid_program"] == {"chown": _refusal(found), "capability": "EPERM", "runs_as_oneself": True}


def test_no_descriptor_was_left_open(found: Found) -> None:
    assert found["inherited_descriptors"] == {
        "own": {"0": "/dev/null", "1": "pipe", "2": "pipe", "3": "socket"},
        "child": ["0/dev/null", "1pipe", "2pipe"],
        "modes": [0, 1, 1],
    }, "3 is the connection to the Runtime API; what is written cannot be read back"


def test_limits_cannot_be_raised(found: Found) -> None:
    limits = found["raise_limits"]
    assert "done" not in limits["raise"].values()
    assert limits["values"] == {
        "RLIMIT_NOFILE": [1024, 1024],
        "RLIMIT_MEMLOCK": [65536, 65536],
        "RLIMIT_CORE": [1, 1],
        "RLIMIT_MSGQUEUE": [0, 0],
        "RLIMIT_NICE": [0, 0],
        "RLIMIT_RTPRIO": [0, 0],
    }


def test_nobody_is_scheduled_before_others(found: Found) -> None:
    assert set(found["go_first"].values()) == {"EPERM"}


def test_a_crash_dumps_no_core(found: Found) -> None:
    assert found["dump_core"] == {"signal": 11, "dumped": False, "files": []}
