"""librdkafka's mock cluster as a process of its own, because its end can crash the process that it is in.

Prints the address of its broker, and ends with its standard input.
"""

from __future__ import annotations

import sys

from confluent_kafka import Producer


def main() -> None:
    keeper = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 1, "log_level": 0})
    broker = next(iter(keeper.list_topics(timeout=10).brokers.values()))
    print(f"{broker.host}:{broker.port}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
