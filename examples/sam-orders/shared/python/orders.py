"""What both functions know of orders."""

import zlib


def number_of(order):
    return zlib.crc32(repr(order).encode()) % 10_000
