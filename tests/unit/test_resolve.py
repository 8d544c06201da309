"""Which version a name means, and that nothing stale is ever meant."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from function_versions import function_version
from lambent.adapters.memory.store import MemoryStore
from lambent.invoke.every_function import every_function
from lambent.invoke.resolve import NoPublishedVersion, Provisions, Resolver, pool_key
from lambent.model.arn import FunctionArn
from lambent.model.errors import ResourceConflict, ResourceNotFound
from lambent.model.function import (
    Alias,
    FunctionRecord,
    State,
    UpdateStatus,
    function_key,
    version_key,
)
from lambent.model.provisioned import ProvisionedConcurrency
from lambent.model.records import encode
from lambent.ports.store import Entry

ARN = FunctionArn("us-east-1", "000000000000", "f")
LATEST = function_version(code_blob="a" * 64)
RECORD = FunctionRecord(latest=LATEST, versions=(1, 2), next_version=3)
KEY = function_key(ARN.account, ARN.region, ARN.name)


class Changes(list[tuple[FunctionArn, FunctionRecord | None, frozenset[str] | None]]):
    provisions: Provisions = {}  # noqa: RUF012 - of the last change

    def __call__(
        self, function: FunctionArn, record: FunctionRecord | None, keep: frozenset[str] | None, provisions: Provisions
    ) -> None:
        self.append((function, record, keep))
        self.provisions = provisions


async def resolver_over(record: FunctionRecord, *, draw: float = 0.0) -> tuple[Resolver, MemoryStore, Changes]:
    store, changes = MemoryStore(), Changes()
    for number in record.versions:
        published = replace(record.latest, version=str(number))
        await store.put(version_key(ARN.account, ARN.region, ARN.name, number), encode(published))
    await store.put(KEY, encode(record))
    resolver = Resolver(store, changes, draw=lambda: draw)
    store.watch("function/", resolver.forget)
    store.watch("version/", resolver.forget_version)
    return resolver, store, changes


async def version_of(resolver: Resolver, qualifier: str | None) -> str:
    return (await resolver.resolve(FunctionArn(ARN.region, ARN.account, ARN.name, qualifier))).version.version


async def test_no_qualifier_and_latest_mean_the_same() -> None:
    resolver, _, _ = await resolver_over(RECORD)

    assert await version_of(resolver, None) == await version_of(resolver, "$LATEST") == "$LATEST"


async def test_numbers_and_aliases_mean_published_versions() -> None:
    alias = Alias(name="live", function_version="2", revision_id="1")
    resolver, _, _ = await resolver_over(replace(RECORD, aliases={"live": alias}))

    assert await version_of(resolver, "1") == "1"
    assert await version_of(resolver, "live") == "2"


@pytest.mark.parametrize(("draw", "version"), [(0.29, "2"), (0.31, "1")])
async def test_an_alias_sends_its_share_to_the_other_version(draw: float, version: str) -> None:
    alias = Alias(name="live", function_version="1", additional_weights={"2": 0.3}, revision_id="1")
    resolver, _, _ = await resolver_over(replace(RECORD, aliases={"live": alias}), draw=draw)

    assert await version_of(resolver, "live") == version


@pytest.mark.parametrize("qualifier", ["3", "nobody", "$latest"])
async def test_what_does_not_exist_is_named(qualifier: str) -> None:
    resolver, _, _ = await resolver_over(RECORD)

    with pytest.raises(ResourceNotFound, match=f"Function not found: {ARN}:".replace("$", r"\$")):
        await version_of(resolver, qualifier)


async def test_a_function_that_does_not_exist_is_named_with_latest() -> None:
    resolver = Resolver(MemoryStore(), Changes())

    with pytest.raises(ResourceNotFound, match=r":f:\$LATEST"):
        await resolver.resolve(ARN)


async def test_latest_published_needs_a_publication() -> None:
    resolver, _, _ = await resolver_over(RECORD)

    with pytest.raises(NoPublishedVersion):
        await version_of(resolver, "$LATEST.PUBLISHED")


async def test_a_pending_function_conflicts() -> None:
    resolver, _, _ = await resolver_over(replace(RECORD, latest=replace(LATEST, state=State.PENDING)))

    with pytest.raises(ResourceConflict, match="currently in the following state: Pending"):
        await resolver.resolve(ARN)


async def test_while_an_update_is_in_progress_the_version_before_it_serves() -> None:
    updating = replace(LATEST, code_blob="b" * 64, last_update_status=UpdateStatus.IN_PROGRESS)
    resolver, store, _ = await resolver_over(replace(RECORD, latest=updating, serving=LATEST))
    assert (await resolver.resolve(ARN)).version.code_blob == "a" * 64

    done = replace(updating, last_update_status=UpdateStatus.SUCCESSFUL)
    await store.put(KEY, encode(replace(RECORD, latest=done)))

    assert (await resolver.resolve(ARN)).version.code_blob == "b" * 64


async def test_a_deleted_function_is_forgotten_at_once() -> None:
    resolver, store, changes = await resolver_over(RECORD)
    await resolver.resolve(ARN)

    await store.delete(KEY)
    await resolver.refresh(KEY)

    with pytest.raises(ResourceNotFound):
        await resolver.resolve(ARN)
    assert changes == [(ARN, None, frozenset())]


async def test_what_was_there_before_tells_its_reservation() -> None:
    resolver, store, changes = await resolver_over(replace(RECORD, reserved_concurrency=5))

    async for record in every_function(store):
        await resolver.begin(record)

    assert changes == [(ARN, replace(RECORD, reserved_concurrency=5), None)]


async def test_a_function_of_many_versions_is_not_read_whole_for_each_of_its_changes() -> None:
    numbers = tuple(range(1, 301))
    resolver, store, changes = await resolver_over(replace(RECORD, versions=numbers, next_version=301))
    await resolver.refresh(KEY)
    read: list[str] = []
    get = store.get
    store.get = lambda key: (read.append(key), get(key))[1]  # type: ignore[method-assign]

    await store.put(KEY, encode(replace(RECORD, versions=numbers, next_version=301, tags={"a": "b"})))
    await resolver.refresh(KEY)

    assert read == [KEY]
    assert changes[1][2] == changes[0][2]
    assert len(changes[0][2] or ()) == 301


async def test_a_version_that_is_made_anew_is_known_anew() -> None:
    resolver, store, changes = await resolver_over(RECORD)
    await resolver.refresh(KEY)
    anew = replace(LATEST, version="2", last_modified="2025-01-01T00:00:00.000+0000")

    await store.put(version_key(ARN.account, ARN.region, ARN.name, 2), encode(anew))
    await resolver.refresh(KEY)

    assert (changes[1][2] or frozenset()) - (changes[0][2] or frozenset()) == {pool_key(anew)}


def test_a_pools_key_changes_with_all_that_an_environment_is_made_from() -> None:
    others = [
        replace(LATEST, code_blob="b" * 64),
        replace(LATEST, environment={"A": "b"}),
        replace(LATEST, memory_mib=256),
        replace(LATEST, timeout_s=4),
        replace(LATEST, version="1"),
        replace(LATEST, name="g"),
    ]

    assert len({pool_key(version) for version in [LATEST, *others]}) == len(others) + 1
    assert pool_key(replace(LATEST, revision_id="2", state=State.PENDING)) == pool_key(LATEST)


async def provisioned(record: FunctionRecord) -> dict[str, list[tuple[str, int]]]:
    resolver, _, changes = await resolver_over(record)
    await resolver.refresh(KEY)
    return {
        qualifier: [(target.version.version, count) for target, count in shares]
        for qualifier, shares in changes.provisions.items()
    }


def config(requested: int) -> ProvisionedConcurrency:
    return ProvisionedConcurrency(requested=requested, last_modified="")


async def test_what_is_provisioned_is_told_with_the_versions_it_stands_for() -> None:
    alias = Alias(name="live", function_version="2", revision_id="1")
    record = replace(RECORD, aliases={"live": alias}, provisioned={"1": config(3), "live": config(4)})

    assert await provisioned(record) == {"1": [("1", 3)], "live": [("2", 4)]}
    moved = replace(record, aliases={"live": replace(alias, function_version="1")})
    assert (await provisioned(moved))["live"] == [("1", 4)]


@pytest.mark.parametrize(("count", "shares"), [(10, [("1", 7), ("2", 3)]), (1, [("1", 1)])])
async def test_an_aliass_weights_part_what_is_provisioned(count: int, shares: list[tuple[str, int]]) -> None:
    alias = Alias(name="live", function_version="1", additional_weights={"2": 0.3}, revision_id="1")

    assert await provisioned(replace(RECORD, aliases={"live": alias}, provisioned={"live": config(count)})) == {
        "live": shares
    }


async def test_an_alias_that_is_moving_goes_on_as_before_while_its_next_version_is_provisioned() -> None:
    alias = Alias(name="live", function_version="2", additional_weights={"1": 1.0}, is_moving=True, revision_id="1")
    record = replace(RECORD, aliases={"live": alias}, provisioned={"live": config(3)})

    assert await provisioned(record) == {"live": [("1", 3)], "2": [("2", 3)]}
    resolver, *_ = await resolver_over(record)
    assert {(await resolver.resolve(ARN.qualified("live"))).version.version for _ in range(100)} == {"1"}


async def test_a_version_that_is_not_active_yet_is_not_provisioned() -> None:
    pending = replace(LATEST, state=State.PENDING)

    assert await provisioned(replace(RECORD, latest=pending, provisioned={"1": config(1)})) == {"1": []}


async def test_what_was_read_before_a_change_is_not_kept_beyond_it() -> None:
    """A store in a cluster answers from afar: a record may change between its reading and its arrival."""

    class SlowStore(MemoryStore):
        async def get(self, key: str) -> Entry | None:
            entry = await super().get(key)
            if not is_read.is_set():
                is_read.set()
                await may_arrive.wait()
            return entry

    is_read, may_arrive, store = asyncio.Event(), asyncio.Event(), SlowStore()
    await store.put(KEY, encode(RECORD))
    resolver = Resolver(store, Changes())
    store.watch("function/", resolver.forget)
    before = asyncio.create_task(resolver.resolve(ARN))
    await is_read.wait()
    await store.put(KEY, encode(replace(RECORD, latest=replace(LATEST, memory_mib=999))))
    may_arrive.set()

    assert (await before).version.memory_mib == 128
    assert (await resolver.resolve(ARN)).version.memory_mib == 999
