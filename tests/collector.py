"""What functions have done they tell a collector of the test, so that it is known whatever is killed when.

They reach it through their AWS endpoint: the server has it as the endpoint of a service named `collector`.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any  # whatever functions tell

DEADLINE_S = 500

TELLING = """
import json, os, random, time, urllib.request

CREDENTIAL = "AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/collector/aws4_request, SignedHeaders=host, Signature=0"

def tell(what):
    request = urllib.request.Request("http://127.0.0.1:9002/", json.dumps(what).encode())
    request.add_header("Authorization", CREDENTIAL)
    urllib.request.urlopen(request).close()
"""
"""The beginning of a function's code, for `tell`."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A server that is killed resets its connections."""


class Collector:
    """Keeps what functions tell, in the order in which it comes."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        told = self.told

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                told.append(json.loads(body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def all(self) -> list[tuple[Any, ...]]:
        """What has been told, where functions tell lists of lists."""
        return [tuple(one) for batch in list(self.told) for one in batch]

    def count(self) -> int:
        return sum(map(len, list(self.told)))


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()
    thread = threading.Thread(target=collector.server.serve_forever)
    thread.start()
    try:
        yield collector
    finally:
        collector.server.shutdown()
        collector.server.server_close()
        thread.join()


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it has not come to be"
        time.sleep(0.05)
