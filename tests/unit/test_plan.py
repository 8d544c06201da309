"""What a sandbox is, decided without a kernel: mounts, limits, identity, messages."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.worker.sandbox import wire
from lambent.worker.sandbox.plan import (
    CPU_PERIOD_US,
    USER_NAMESPACE_UID,
    MountKind,
    ProcessPlan,
    SandboxPlan,
    in_the_open,
    plan_identity,
    plan_limits,
    plan_mounts,
)

PLAN = SandboxPlan(
    sandbox_id="a",
    code_dir="/data/code",
    runtime_dir="/data/runtime",
    memory_mib=1769,
    cpu_share=1.0,
    pids_maximum=1024,
    ephemeral_storage_mib=512,
    egress="none",
)


def targets(plan: SandboxPlan) -> dict[str, tuple[str, ...]]:
    return {mount.target: mount.sources for mount in plan_mounts(plan)}


def test_code_and_runtime_lie_where_lambda_puts_them() -> None:
    assert targets(PLAN)["/var/task"] == ("/data/code",)
    assert targets(PLAN)["/var/runtime"] == ("/data/runtime",)
    assert not {"/opt", "/var/lang"} & targets(PLAN).keys(), "they stay the empty directories of the shared root"


def test_later_layers_lie_over_earlier_ones() -> None:
    (opt,) = (m for m in plan_mounts(replace(PLAN, layer_dirs=("/1", "/2", "/3"))) if m.target == "/opt")

    assert opt.kind is MountKind.OVERLAY
    assert opt.sources == ("/3", "/2", "/1")


def test_one_layer_needs_no_overlay() -> None:
    (opt,) = (m for m in plan_mounts(replace(PLAN, layer_dirs=("/1",))) if m.target == "/opt")

    assert (opt.kind, opt.sources) == (MountKind.BIND, ("/1",))


def test_only_tmp_and_proc_are_writable() -> None:
    plan = replace(PLAN, layer_dirs=("/1", "/2"), language_dir="/lang")

    assert {mount.target for mount in plan_mounts(plan) if not mount.read_only} == {"/tmp", "/proc"}


def test_proc_is_mounted_before_its_files_are_masked() -> None:
    order = [mount.target for mount in plan_mounts(PLAN)]

    assert order.index("/proc") < min(order.index(m.target) for m in plan_mounts(PLAN) if m.kind is MountKind.MASK)


@pytest.mark.parametrize(
    ("memory_mib", "vcpus"), [(128, 128 / 1769), (1769, 1.0), (3538, 2.0), (10_240, 10_240 / 1769)]
)
def test_cpu_follows_memory(memory_mib: int, vcpus: float) -> None:
    limits = plan_limits(replace(PLAN, memory_mib=memory_mib, cpu_share=memory_mib / 1769))

    assert limits.cpu_quota_us == round(vcpus * CPU_PERIOD_US)
    assert limits.cpu_boost_quota_us == max(limits.cpu_quota_us, CPU_PERIOD_US)
    assert limits.memory_bytes == memory_mib * 1024 * 1024


def test_the_quota_is_never_less_than_the_kernel_takes() -> None:
    assert plan_limits(replace(PLAN, cpu_share=0.001)).cpu_quota_us == 1_000


def test_every_slot_has_a_uid_and_a_name_of_its_own() -> None:
    identities = [plan_identity(index, 1_900_000_000) for index in range(4_096)]

    assert len({identity.uid for identity in identities}) == len({identity.hostname for identity in identities}) == 4096
    assert f":{identities[7].uid}:" in identities[7].passwd


def test_in_a_user_namespace_every_slot_has_the_same_uid() -> None:
    assert plan_identity(1, None).uid == plan_identity(2, None).uid == USER_NAMESPACE_UID


texts = st.text(max_size=50)


@given(argv=st.lists(texts, min_size=1, max_size=4), env=st.dictionaries(texts, texts), signum=st.integers(1, 64))
def test_messages_arrive_as_they_were_sent(argv: list[str], env: dict[str, str], signum: int) -> None:
    process = ProcessPlan(name="runtime", argv=tuple(argv), env=env)
    ours, theirs = wire.socket_pair()
    with ours, theirs:
        for message in (
            wire.Create(plan=replace(PLAN, processes=(process,))),
            wire.Signal(sandbox_id="a", name="runtime", signum=signum),
        ):
            wire.send(ours, message)
            assert wire.receive_request(theirs) == (message, [])


def test_descriptors_travel_with_their_message_and_the_end_is_seen() -> None:
    ours, theirs = wire.socket_pair()
    with theirs:
        with ours, socket.socket() as passenger:
            wire.send(ours, wire.Booted(sandbox_id="a"), [passenger.fileno()])
        received = wire.receive_report(theirs)
        assert received is not None
        report, (descriptor,) = received
        assert report == wire.Booted(sandbox_id="a")
        socket.socket(fileno=descriptor).close()
        assert wire.receive_report(theirs) is None


def test_without_walls_the_paths_of_a_sandbox_become_the_hosts() -> None:
    process = ProcessPlan(
        name="runtime",
        argv=(
            "/var/lang/bin/python3",
            "/var/runtime/bootstrap.py",
            "--opt=/opt",
            "/usr/opt/x",
            "/optical",
            "/var/tasks",
        ),
        env={
            "PATH": "/var/lang/bin:/usr/bin:/opt/bin",
            "LAMBDA_TASK_ROOT": "/var/task",
            "AWS_LAMBDA_RUNTIME_API": "x",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9002",
            "AWS_ENDPOINT_URL_S3": "http://own:9000",
        },
        cwd="/var/task",
    )
    places = {"/var/task": "/data/code", "/var/runtime": "/data/rt", "/var/lang": "/usr/py", "/tmp": "/data/tmp"}

    outside = in_the_open(process, places, "127.0.0.1:40001", "127.0.0.1:40002")

    assert outside.argv == ("/usr/py/bin/python3", "/data/rt/bootstrap.py", *process.argv[2:])
    assert outside.cwd == "/data/code"
    assert outside.env == {
        "PATH": "/usr/py/bin:/usr/bin:/opt/bin",
        "LAMBDA_TASK_ROOT": "/data/code",
        "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:40001",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:40002",
        "AWS_ENDPOINT_URL_S3": "http://own:9000",
        "TMPDIR": "/data/tmp",
    }


def test_what_nobody_of_ours_would_send_is_told_apart() -> None:
    ours, theirs = wire.socket_pair()
    with ours, theirs:
        ours.send(b"\x93 not a message")
        with pytest.raises(wire.Garbled):
            wire.receive_report(theirs)
