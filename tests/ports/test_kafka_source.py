"""Topics of Kafka as a stream source: where reading begins and resumes, and how a group is divided."""

from __future__ import annotations

import asyncio
import dataclasses
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from broker_mappings import access, brokers, kafka_mapping
from kafka_servers import PASSWORD, USER, ApacheKafka, make_topic, put
from lambent.adapters.sources.broker_access import BrokerAccess
from lambent.adapters.sources.kafka import KafkaStream, kafka_stream
from lambent.adapters.sources.kafka_cluster import KafkaCluster
from lambent.model.event_source_mapping import EventSourceMapping
from lambent.model.function import FunctionVersion
from lambent.model.source_record import Checkpoint, Position
from lambent.ports.sources import ShardLost, SourceUnavailable

LOGIN = {"login": {"username": USER, "password": PASSWORD}}


@asynccontextmanager
async def reading(mapping: EventSourceMapping, timeout_s: float = 3.0) -> AsyncIterator[KafkaStream]:
    cluster = KafkaCluster(mapping.bootstrap_servers, BrokerAccess(tls=ssl.create_default_context()))
    async with kafka_stream(cluster, mapping, timeout_s=timeout_s) as stream:
        yield stream


async def shards(stream: KafkaStream, count: int) -> Sequence[str]:
    """The partitions of this member, once they are so many."""
    async with asyncio.timeout(30):
        while True:
            stream.changed.clear()
            found = [shard.id for shard in await stream.shards()]
            if len(found) == count:
                return found
            await stream.changed.wait()


async def fetch(stream: KafkaStream, shard: str, cursor: str, count: int) -> tuple[list[str], str]:
    """The ids of the next records, and where to go on."""
    ids: list[str] = []
    async with asyncio.timeout(30):
        while len(ids) < count:
            page = await stream.fetch(shard, cursor, 1_000)
            ids += [record.id for record in page.records]
            assert page.cursor is not None
            cursor = page.cursor
    return ids, cursor


async def test_records_are_read_in_order_and_committed(any_kafka: str, topic: str) -> None:
    await put(any_kafka, topic, [b"%d" % number for number in range(10)])
    async with reading(kafka_mapping(any_kafka, topic)) as stream:
        shard, *_ = await shards(stream, 4)
        assert shard == f"{topic}-0"
        ids, _ = await fetch(stream, shard, await stream.open(shard, Position()), 10)
        assert ids == [str(number) for number in range(10)]
        await stream.commit(shard, Checkpoint(after="6"))
        assert await stream.open(shard, Position()) == "7"
        assert (await fetch(stream, shard, "7", 3))[0] == ["7", "8", "9"]
        await stream.close(shard)


async def test_latest_is_settled_when_it_is_opened_and_not_moved_by_coming_back(any_kafka: str, topic: str) -> None:
    mapping = kafka_mapping(any_kafka, topic, starting_position="LATEST")
    await put(any_kafka, topic, [b"before"])
    async with reading(mapping):
        pass
    await put(any_kafka, topic, [b"after"])
    async with reading(mapping) as stream:
        shard, *_ = await shards(stream, 4)
        ids, _ = await fetch(stream, shard, await stream.open(shard, Position()), 1)
        assert ids == ["1"]


async def test_a_topic_that_is_not_there_is_told(any_kafka: str) -> None:
    with pytest.raises(SourceUnavailable, match="There is no topic nowhere"):
        async with reading(kafka_mapping(any_kafka, "nowhere")):
            pass


async def test_a_server_that_is_not_there_is_told() -> None:
    with pytest.raises(SourceUnavailable, match=r"127\.0\.0\.1:9 cannot be reached"):
        async with reading(kafka_mapping("127.0.0.1:9", "orders")):
            pass


async def test_reading_begins_at_a_time(kafka: ApacheKafka) -> None:
    await make_topic(kafka.plaintext, "timed")
    await put(kafka.plaintext, "timed", [b"before"])
    await asyncio.sleep(0.05)
    at_s = time.time()
    await put(kafka.plaintext, "timed", [b"after"])
    mapping = kafka_mapping(kafka.plaintext, "timed", starting_position="AT_TIMESTAMP", starting_timestamp_s=at_s)
    async with reading(mapping) as stream:
        (shard,) = await shards(stream, 1)
        assert await stream.open(shard, Position()) == "1"


async def test_records_are_read_in_every_compression(kafka: ApacheKafka) -> None:
    await make_topic(kafka.plaintext, "compressed")
    for compression in ("gzip", "snappy", "lz4", "zstd"):
        await put(kafka.plaintext, "compressed", [b"a" * 1_000], compression=compression)
    async with reading(kafka_mapping(kafka.plaintext, "compressed")) as stream:
        (shard,) = await shards(stream, 1)
        assert (await fetch(stream, shard, await stream.open(shard, Position()), 4))[0] == ["0", "1", "2", "3"]
        await stream.close(shard)


async def test_two_members_of_a_group_share_its_partitions_and_what_is_held_is_released_first(
    kafka: ApacheKafka,
) -> None:
    await make_topic(kafka.plaintext, "shared", 4)
    for partition in range(4):
        await put(kafka.plaintext, "shared", [b"0", b"1"], partition=partition)
    first = kafka_mapping(kafka.plaintext, "shared", consumer_group_id="sharers")
    second = dataclasses.replace(first, uuid="another")
    async with reading(first) as one:
        held = await shards(one, 4)
        for shard in held:
            await fetch(one, shard, await one.open(shard, Position()), 2)
        async with reading(second) as two:
            await one.changed.wait()
            assert await one.shards() == ()
            with pytest.raises(ShardLost):
                await one.fetch(held[0], "2", 10)
            assert await two.shards() == ()  # as long as the first holds what it has opened
            await one.commit(held[0], Checkpoint(after="0"))
            for shard in held:
                await one.close(shard)
            mine, its = await shards(one, 2), await shards(two, 2)
            assert sorted([*mine, *its]) == sorted(held)
            lost = next(iter(its))
            with pytest.raises(ShardLost):
                await one.commit(lost, Checkpoint(after="1"))
            cursors = {shard: await one.open(shard, Position()) for shard in mine}
            cursors |= {shard: await two.open(shard, Position()) for shard in its}
            assert cursors == {shard: "1" if shard == held[0] else "0" for shard in held}
            for shard in mine:
                await one.close(shard)
            for shard in its:
                await two.close(shard)


async def test_a_member_that_comes_back_has_its_partitions_at_once_though_it_never_said_goodbye(
    kafka: ApacheKafka,
) -> None:
    await make_topic(kafka.plaintext, "killed")
    mapping = kafka_mapping(kafka.plaintext, "killed")
    async with reading(mapping) as dead:
        (shard,) = await shards(dead, 1)
        await put(kafka.plaintext, "killed", [b"0", b"1"])
        await fetch(dead, shard, await dead.open(shard, Position()), 2)
        await dead.commit(shard, Checkpoint(after="0"))
        await dead.close(shard)
        began = time.monotonic()
        async with reading(mapping) as alive:
            await shards(alive, 1)
            assert await alive.open(shard, Position()) == "1"
            await alive.close(shard)
        assert time.monotonic() - began < 20  # a session ends after 30


async def test_a_server_that_is_silent_does_not_hold_who_leaves(
    kafka: ApacheKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_topic(kafka.plaintext, "left")
    async with AsyncExitStack() as leaving:
        stream = await leaving.enter_async_context(reading(kafka_mapping(kafka.plaintext, "left")))
        await shards(stream, 1)
        monkeypatch.setattr("lambent.adapters.sources.kafka_cluster._REQUEST_TIMEOUT_S", 1.0)
        with kafka.frozen():
            async with asyncio.timeout(30):
                await leaving.aclose()


@pytest.mark.parametrize("mechanism", ["BASIC_AUTH", "SASL_SCRAM_256_AUTH", "SASL_SCRAM_512_AUTH"])
@pytest.mark.parametrize("listener", ["sasl_plaintext", "sasl_tls"])
async def test_a_cluster_is_entered_with_a_user_name_and_password(
    kafka: ApacheKafka, tmp_path: Path, mechanism: str, listener: str
) -> None:
    secrets = LOGIN | {"authority": {"certificate": kafka.certificates.authority}}
    authority = {"SERVER_ROOT_CA_CERTIFICATE": "authority"} if listener == "sasl_tls" else {}
    mapping = kafka_mapping(getattr(kafka, listener), "nowhere", access=access(**{mechanism: "login"}, **authority))
    with pytest.raises(SourceUnavailable, match="There is no topic nowhere"):
        await _open(brokers(tmp_path, secrets), mapping)


async def test_a_cluster_is_entered_with_a_client_certificate(kafka: ApacheKafka, tmp_path: Path) -> None:
    certificates = kafka.certificates
    secrets = {
        "authority": {"certificate": certificates.authority},
        "client": {"certificate": certificates.client_certificate, "privateKey": certificates.client_key},
    }
    configurations = access(SERVER_ROOT_CA_CERTIFICATE="authority", CLIENT_CERTIFICATE_TLS_AUTH="client")
    mapping = kafka_mapping(kafka.client_tls, "nowhere", access=configurations)
    with pytest.raises(SourceUnavailable, match="There is no topic nowhere"):
        await _open(brokers(tmp_path, secrets), mapping)
    without = dataclasses.replace(mapping, access=access(SERVER_ROOT_CA_CERTIFICATE="authority"))
    with pytest.raises(SourceUnavailable, match="Server failed to authenticate Lambda"):
        await _open(brokers(tmp_path, secrets), without)


@pytest.mark.parametrize("mechanism", ["BASIC_AUTH", "SASL_SCRAM_512_AUTH"])
async def test_a_wrong_password_is_told_in_awss_words(kafka: ApacheKafka, tmp_path: Path, mechanism: str) -> None:
    mapping = kafka_mapping(kafka.sasl_plaintext, "orders", access=access(**{mechanism: "login"}))
    with pytest.raises(SourceUnavailable, match="SASL authentication failed"):
        await _open(brokers(tmp_path, {"login": {"username": USER, "password": "wrong"}}), mapping)


async def test_a_server_of_an_unknown_authority_is_not_spoken_to(kafka: ApacheKafka, tmp_path: Path) -> None:
    mapping = kafka_mapping(kafka.sasl_tls, "orders", access=access(BASIC_AUTH="login"))
    with pytest.raises(SourceUnavailable, match="Lambda failed to authenticate server"):
        await _open(brokers(tmp_path, LOGIN), mapping)


@pytest.mark.parametrize(
    ("secrets", "told"),
    [
        ({}, "Lambent does not have the secret login: start it with --secret"),
        ({"login": {"username": USER}}, "The secret login of BASIC_AUTH has no password"),
    ],
)
async def test_a_secret_that_is_not_there_or_incomplete_is_told(
    tmp_path: Path, secrets: dict[str, dict[str, str]], told: str
) -> None:
    mapping = kafka_mapping("127.0.0.1:9", "orders", access=access(BASIC_AUTH="login"))
    with pytest.raises(SourceUnavailable, match=told):
        await _open(brokers(tmp_path, secrets), mapping)


async def test_a_certificate_that_is_none_is_told(tmp_path: Path) -> None:
    mapping = kafka_mapping("127.0.0.1:9", "orders", access=access(SERVER_ROOT_CA_CERTIFICATE="authority"))
    with pytest.raises(SourceUnavailable, match="Provided certificate or private key is invalid"):
        await _open(brokers(tmp_path, {"authority": {"certificate": "none"}}), mapping)


async def test_a_server_that_falls_silent_is_told(kafka: ApacheKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lambent.adapters.sources.kafka._SILENCE_S", 1.0)
    await make_topic(kafka.plaintext, "silent")
    async with reading(kafka_mapping(kafka.plaintext, "silent")) as stream:
        (shard,) = await shards(stream, 1)
        cursor = await stream.open(shard, Position())
        with kafka.frozen(), pytest.raises(SourceUnavailable, match=f"{kafka.plaintext} does not answer"):
            await fetch(stream, shard, cursor, 1)
        await put(kafka.plaintext, "silent", [b"again"])
        assert (await fetch(stream, shard, cursor, 1))[0] == ["0"]
        await stream.close(shard)


async def _open(source: object, mapping: EventSourceMapping) -> None:
    version = FunctionVersion.__new__(FunctionVersion)
    object.__setattr__(version, "timeout_s", 3)
    async with source.stream(mapping, version):  # type: ignore[attr-defined]
        pass
