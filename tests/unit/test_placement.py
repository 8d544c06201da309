"""Room for new environments, by what they take."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from lambent.manager.keep_alive import Idle
from lambent.manager.placement import LEAST_MIB, LOOK_AGAIN_S, LOOK_SOON_S, Footprint, Holding, Look, Room
from lambent.model.invocation import EnvironmentId


@dataclass(slots=True)
class Host:
    """What it shows is what the test says."""

    free_mib: float
    growth_mib: float = 0.0
    leaving_mib: float = 0.0
    idle: list[Holding] = field(default_factory=list)
    looks: int = 0
    asked: int = 0

    def look(self) -> Look:
        self.looks += 1
        available_mib = self.free_mib
        return Look(available_mib=available_mib, growth_mib=self.growth_mib, leaving_mib=self.leaving_mib)

    def holdings(self) -> Iterable[Holding]:
        self.asked += 1
        return self.idle

    def room(self) -> Room:
        return Room(look=self.look, idle=self.holdings)


def holding(name: str, mib: float) -> Holding:
    return Holding(Idle(EnvironmentId(name), 0.0), mib)


def still(_: Idle) -> bool:
    return True


def test_what_was_given_is_reckoned_with_before_it_shows() -> None:
    room = Host(free_mib=25).room()

    given_ = [room.take(10, now_s=0.0, is_idle=still) for _ in range(3)]

    assert given_ == [(), (), None]


def test_a_thousand_at_once_are_one_look() -> None:
    host = Host(free_mib=22_000)
    room = host.room()
    needed_mib = Footprint(128).expected_mib

    assert all(room.take(needed_mib, now_s=0.0, is_idle=still) == () for _ in range(1_000))
    assert (host.looks, host.asked) == (1, 0)


def test_a_thousand_refused_at_once_are_one_look() -> None:
    host = Host(free_mib=0, idle=[holding(str(number), 0.001) for number in range(1_000)])
    room = host.room()

    assert all(room.take(10, now_s=0.0, is_idle=still) is None for _ in range(1_000))
    assert (host.looks, host.asked) == (1, 1)


def test_the_host_is_looked_at_again_after_a_while_and_sooner_when_room_is_short() -> None:
    host = Host(free_mib=15)
    room = host.room()
    room.take(10, now_s=0.0, is_idle=still)

    room.take(1, now_s=LOOK_SOON_S, is_idle=still)
    assert host.looks == 1
    room.take(10, now_s=LOOK_SOON_S, is_idle=still)
    assert host.looks == 2
    room.take(1, now_s=LOOK_SOON_S + LOOK_AGAIN_S, is_idle=still)
    assert host.looks == 3


def test_what_those_at_work_will_take_is_not_free_and_what_those_who_leave_hold_is() -> None:
    assert Host(free_mib=100, growth_mib=95).room().take(10, now_s=0.0, is_idle=still) is None
    assert Host(free_mib=0, leaving_mib=10).room().take(10, now_s=0.0, is_idle=still) == ()


def test_those_who_wait_longest_go_and_no_more_than_must() -> None:
    host = Host(free_mib=5, idle=[holding("oldest", 4), holding("older", 4), holding("young", 4)])

    evicted = host.room().take(10, now_s=0.0, is_idle=still)

    assert evicted is not None
    assert [one.environment_id for one in evicted] == ["oldest", "older"]


def test_nobody_goes_where_it_would_not_be_enough() -> None:
    host = Host(free_mib=0, idle=[holding("a", 4), holding("b", 4)])
    room = host.room()

    assert room.take(10, now_s=0.0, is_idle=still) is None
    evicted = room.take(8, now_s=0.0, is_idle=still)
    assert evicted is not None
    assert len(evicted) == 2


def test_one_that_is_at_work_again_is_passed_over() -> None:
    host = Host(free_mib=0, idle=[holding("busy again", 10), holding("idle", 10)])
    room = host.room()

    evicted = room.take(10, now_s=0.0, is_idle=lambda one: one.environment_id == "idle")

    assert evicted is not None
    assert [one.environment_id for one in evicted] == ["idle"]
    assert room.take(10, now_s=0.0, is_idle=still) is None


def test_nobody_goes_for_what_is_made_early() -> None:
    host = Host(free_mib=15, idle=[holding("a", 100)])
    room = host.room()

    assert room.take_free(10, now_s=0.0)
    assert not room.take_free(10, now_s=0.0)


def test_idle_ones_go_when_those_at_work_grow() -> None:
    host = Host(free_mib=50, growth_mib=55, idle=[holding("a", 4), holding("b", 4), holding("c", 4)])

    assert [one.environment_id for one in host.room().relieve(now_s=0.0, is_idle=still)] == ["a", "b"]
    assert Host(free_mib=50, idle=host.idle).room().relieve(now_s=0.0, is_idle=still) == ()


@given(
    st.integers(0, 200),
    st.lists(st.integers(1, 50), max_size=8),
    st.lists(st.integers(1, 80), max_size=20),
)
def test_no_more_is_ever_given_than_is_free_or_becomes_so(free: int, idle: list[int], wanted: list[int]) -> None:
    held = {EnvironmentId(str(number)): mib for number, mib in enumerate(idle)}
    host = Host(free_mib=free, idle=[holding(name, mib) for name, mib in held.items()])
    room = host.room()
    gone: set[EnvironmentId] = set()
    taken = 0

    for mib in wanted:
        evicted = room.take(mib, now_s=0.0, is_idle=lambda one: one.environment_id not in gone)
        if evicted is not None:
            taken += mib
            gone.update(one.environment_id for one in evicted)

    assert taken <= free + sum(held[name] for name in gone)


def test_an_unknown_version_is_expected_to_take_a_part_of_what_it_may() -> None:
    assert Footprint(128).expected_mib == 16
    assert Footprint(10_240).expected_mib == 1_280


def test_a_greater_peak_counts_at_once_and_a_smaller_one_little_by_little() -> None:
    footprint = Footprint(1_024)

    footprint.learn(900)
    assert footprint.expected_mib == 900
    footprint.learn(36)
    assert footprint.expected_mib == 873
    for _ in range(1_000):
        footprint.learn(36)
    assert 36 <= footprint.expected_mib < 37


def test_what_a_function_is_expected_to_take_lies_between_a_floor_and_its_limit() -> None:
    footprint = Footprint(128)
    footprint.learn(500)
    assert footprint.expected_mib == 128
    for _ in range(1_000):
        footprint.learn(1)
    assert LEAST_MIB <= footprint.expected_mib < LEAST_MIB + 1


def test_one_that_grows_beyond_what_is_expected_tells_of_the_others_before_it_has_ended() -> None:
    footprint = Footprint(1_024)

    assert footprint.growth_mib(100) == 28
    assert footprint.growth_mib(400) == 0
    assert footprint.growth_mib(100) == 300


def test_where_nobody_counts_nothing_is_learned() -> None:
    footprint = Footprint(128)
    footprint.learn(0)
    assert footprint.expected_mib == 16
