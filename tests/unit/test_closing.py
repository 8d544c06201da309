"""What PID 1 does last is got ready before it is forked, in the one order that works."""

from __future__ import annotations

import errno
import os

import pytest

from lambent.worker.sandbox import closing, kernel
from lambent.worker.sandbox.closing import Call, Closer, Closing
from lambent.worker.sandbox.inner_wire import Ground, Mount, Setup, Walls
from lambent.worker.sandbox.walls import StepFailed

_GROUND = Ground(
    host_namespace=1,
    root_namespace=2,
    seccomp_program=bytes(8),
    last_capability=40,
    processors=(0, 1),
    made_inside=(Mount("proc", "/proc"), Mount("mask", "/proc/keys", ("/dev/null",))),
)


def setup(*, in_user_namespace: bool = False, uid: int = 1234, control: int = 5) -> tuple[Setup, Walls]:
    walls = Walls(uid=uid, hostname="", mounts=(), in_user_namespace=in_user_namespace, pids_maximum=1)
    return Setup(walls, control, 7, 9, (11, 12), is_held_back=False), walls


def ready(*, in_user_namespace: bool = False) -> Closing:
    return Closer(_GROUND).get_ready(*setup(in_user_namespace=in_user_namespace), told=None)


def test_control_groups_are_joined_before_their_namespace_is_made_and_their_descriptors_are_closed() -> None:
    assert [call.step for call in ready().inside] == [
        *("be named", "use processors", "join cgroups", "join cgroups", "make a cgroup namespace"),
        *("mount /proc", "mount /proc", "enter root", *3 * ("close descriptors",)),
    ]


def test_the_uid_goes_first_and_the_filter_comes_last() -> None:
    names = [call.function.__name__ for call in ready().for_good]

    assert names == ["setgroups", "setresgid", "setresuid", "syscall", "prctl", "prctl", "prctl"]


def test_in_a_user_namespace_of_its_own_it_stays_who_it_is() -> None:
    assert [call.function.__name__ for call in ready(in_user_namespace=True).for_good] == ["syscall", *3 * ("prctl",)]


def test_each_gets_its_own_uid_and_the_descriptors_that_it_has() -> None:
    closer = Closer(_GROUND)
    first = closer.get_ready(*setup(uid=1), told=None)
    second = closer.get_ready(*setup(uid=2), told=None)
    third = closer.get_ready(*setup(uid=2, control=6), told=4)

    assert [one.for_good[1].arguments for one in (first, second, third)] == [(1, 1, 1), (2, 2, 2), (2, 2, 2)]
    assert second.inside is first.inside, "nothing is made anew where nothing differs"
    assert closed(first) == [3, 6, 8]
    assert closed(third) == [3, 5, 8]


def closed(got_ready: Closing) -> list[int]:
    """The first descriptor of each range that is closed."""
    return [call.arguments[1] for call in got_ready.inside if call.step == "close descriptors"]


def test_nothing_is_kept_open_but_what_is_named_and_the_standard_descriptors() -> None:
    assert list(closing.between((7, 5))) == [(3, 4), (6, 6), (8, kernel.LAST_DESCRIPTOR)]
    assert list(closing.between((3,))) == [(4, kernel.LAST_DESCRIPTOR)]


def test_the_first_call_that_fails_is_the_last_one_made() -> None:
    reading, writing = os.pipe()
    write = ready().inside[2].function

    with pytest.raises(StepFailed) as failed:
        closing.make(
            [Call("one", write, (writing, b"a", 1)), Call("two", write, (-1, b"b", 1)), Call("three", write, ())]
        )

    assert failed.value.step == "two"
    assert failed.value.error.errno == errno.EBADF
    assert os.read(reading, 10) == b"a"
    os.close(reading)
    os.close(writing)


def test_a_call_that_may_fail_keeps_none_from_being_made() -> None:
    reading, writing = os.pipe()
    write = ready().inside[2].function

    closing.make([Call("one", write, (-1, b"a", 1), may_fail=True), Call("two", write, (writing, b"b", 1))])

    assert os.read(reading, 10) == b"b"
    os.close(reading)
    os.close(writing)
