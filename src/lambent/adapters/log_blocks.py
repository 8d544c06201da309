"""Blocks: how the log stores keep events, many to one row, and put them back into order.

A block is what one stream logged within `BLOCK_SPAN_MS`, encoded once; its events are numbered. Blocks may overlap in
time, so reading merges them: a block is opened only when its first event is next.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from lambent.ports.log_store import Event, Position, Query, Record

BLOCK_SPAN_MS = 10_000
"""No block is longer, so the blocks that touch a range of time begin within this of it."""

BLOCK_BYTES = 256 * 1024
_COMPRESSED_FROM_BYTES = 1024
_SAMPLE_BYTES = 8 * 1024
_ZLIB = b"\x78"  # begins a zlib stream, and no msgpack array


class DamagedBlock(Exception):
    """The bytes of a block are not what was written."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Record])


class Block(NamedTuple):
    id: int
    first_ms: int
    last_ms: int
    ingested_ms: int
    stream: str
    payload: bytes


def cut(records: Sequence[Record]) -> Iterator[list[Record]]:
    """Records in order of time, parted where a block would become too long or too large."""
    block: list[Record] = []
    size = 0
    for record in sorted(records, key=lambda record: record.timestamp_ms):
        too_long = block and record.timestamp_ms - block[0].timestamp_ms > BLOCK_SPAN_MS
        if too_long or (block and size + len(record.text) > BLOCK_BYTES):
            yield block
            block, size = [], 0
        block.append(record)
        size += len(record.text)
    if block:
        yield block


def encode(records: Sequence[Record]) -> bytes:
    """Compressed only where that pays: text that hardly shrinks would cost more time than it saves space."""
    payload = _encoder.encode(records)
    sample = payload[:_SAMPLE_BYTES]
    if len(payload) < _COMPRESSED_FROM_BYTES or 2 * len(zlib.compress(sample, 1)) > len(sample):
        return payload
    return zlib.compress(payload, 1)


def read_blocks(blocks: Iterable[Block], query: Query) -> list[Event]:
    """One page of `query` from blocks in reading order: by (first_ms, id), or backward by (last_ms, id) descending."""
    return _page(_forward(blocks, query) if query.is_forward else _backward(blocks, query), query)


def _forward(blocks: Iterable[Block], query: Query) -> Iterator[Event]:
    waiting: list[Event] = []
    for block in blocks:
        count = bisect_left(waiting, Position(block.first_ms, block.id), key=_position)
        yield from waiting[:count]
        waiting = sorted(waiting[count:] + _events(block, query))
    yield from waiting


def _backward(blocks: Iterable[Block], query: Query) -> Iterator[Event]:
    waiting: list[Event] = []
    for block in blocks:
        count = bisect_left(waiting, Position(block.last_ms, block.id + 1), key=_position)
        yield from reversed(waiting[count:])
        waiting = sorted(waiting[:count] + _events(block, query))
    yield from reversed(waiting)


def _events(block: Block, query: Query) -> list[Event]:
    """The block's events within the query's bounds, in order."""
    events: list[Event] = []
    for record in _decode(block):
        message = record.text.decode(errors="replace")
        messages = [f"{line}\n" for line in message.split("\n")[:-1]] if record.is_lines else [message]
        events += [
            Event(Position(record.timestamp_ms, block.id, line), block.stream, block.ingested_ms, message)
            for line, message in enumerate(messages, len(events))
        ]
    low, high = Position(query.start_ms), Position(query.end_ms)
    if query.origin is not None:
        low, high = (max(low, query.origin), high) if query.is_forward else (low, min(high, query.origin))
    return events[bisect_left(events, low, key=_position) : bisect_left(events, high, key=_position)]


def _decode(block: Block) -> list[Record]:
    try:
        payload = zlib.decompress(block.payload) if block.payload.startswith(_ZLIB) else block.payload
        return _decoder.decode(payload)
    except (zlib.error, msgspec.DecodeError) as error:
        raise DamagedBlock(f"block {block.id}: {error}") from error


def _position(event: Event) -> Position:
    return event.position


def _page(events: Iterator[Event], query: Query) -> list[Event]:
    page: list[Event] = []
    size = 0
    for event in events:
        size += len(event.message)
        if page and (size > query.limit_bytes or len(page) == query.limit):
            break
        page.append(event)
    return page
