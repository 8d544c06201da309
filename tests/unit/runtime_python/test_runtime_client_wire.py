"""The client's HTTP, in this process: whatever pieces an answer arrives in, the same is read; one write per invoke."""

from __future__ import annotations

import itertools
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).parents[3] / "runtimes" / "python"))

from lambent_runtime.client import Invocation, RuntimeApiError, RuntimeClient
from lambent_runtime.connection import ConnectionLost, connect

ACCEPTED = b'HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"status":"OK"}\n'
NEXT_HEAD = (
    b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: a\r\nlambda-runtime-deadline-ms:  1 \r\n" + b"X: y\r\n" * 30
)


@contextmanager
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        yield server


@contextmanager
def connected() -> Iterator[tuple[RuntimeClient, socket.socket]]:
    """A client, and the platform's end of its connection."""
    with listening() as server:
        client = RuntimeClient(f"127.0.0.1:{server.getsockname()[1]}")
        platform, _ = server.accept()
        with platform:
            platform.settimeout(10)
            platform.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield client, platform


def chunked(body: bytes, sizes: list[int]) -> bytes:
    out, rest = b"", body
    for size in [*sizes, len(body) or 1]:
        piece, rest = rest[:size], rest[size:]
        out += b"%x;ext=1\r\n%s\r\n" % (len(piece), piece) if piece else b""
    return out + b"0\r\nTrailer: x\r\n\r\n"


def pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    at = [0, *sorted(cut % len(data) for cut in cuts), len(data)]
    return (data[start:end] for start, end in itertools.pairwise(at))


@settings(max_examples=60, deadline=None)
@given(
    body=st.binary(max_size=2000),
    chunk_sizes=st.none() | st.lists(st.integers(1, 500), max_size=4),
    cuts=st.lists(st.integers(0, 3000), max_size=6),
)
def test_an_invocation_is_read_from_whatever_pieces_it_arrives_in(
    body: bytes, chunk_sizes: list[int] | None, cuts: list[int]
) -> None:
    if chunk_sizes is None:
        answer = NEXT_HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    else:
        answer = NEXT_HEAD + b"Transfer-Encoding: Chunked\r\n\r\n" + chunked(body, chunk_sizes)
    with connected() as (client, platform):
        client.respond(Invocation({"lambda-runtime-aws-request-id": "z"}, b""), b"null", "application/json")
        sender = threading.Thread(target=lambda: [platform.send(p) for p in pieces(ACCEPTED + answer, cuts)])
        sender.start()
        invocation = client.receive()
        sender.join()

    assert invocation.body == body
    assert invocation.request_id == "a"
    assert invocation.headers["lambda-runtime-deadline-ms"] == "1"


def test_an_answer_and_the_question_for_the_next_are_one_write() -> None:
    with connected() as (client, platform):
        client.respond(Invocation({"lambda-runtime-aws-request-id": "z"}, b""), b"[1]", "application/json")
        host = b"Host: 127.0.0.1:%d\r\n" % platform.getsockname()[1]

        assert platform.recv(65536) == (
            b"POST /2018-06-01/runtime/invocation/z/response HTTP/1.1\r\n"
            + host
            + b"Content-Type: application/json\r\n"
            b"Content-Length: 3\r\n\r\n[1]GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n" + host + b"\r\n"
        )


def test_a_write_the_kernel_takes_in_parts_is_finished() -> None:
    body = bytes(range(256)) * 20_000
    received = bytearray()

    def read_all(platform: socket.socket) -> None:
        while data := platform.recv(65536):
            received.extend(data)

    with listening() as server:
        connection: Any = connect("127.0.0.1", server.getsockname()[1])
        platform, _ = server.accept()
        connection._socket = Sparing(connection._socket)
        reader = threading.Thread(target=read_all, args=(platform,))
        reader.start()
        connection.send(b"head", body, b"tail")
        connection._socket.inner.close()
        reader.join()
        platform.close()

    assert bytes(received) == b"head" + body + b"tail"


class Sparing:
    """A socket whose `sendmsg` is interrupted early, as by a signal."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def sendmsg(self, parts: tuple[bytes, ...]) -> int:
        return int(self.inner.send(b"".join(parts)[:7]))

    def sendall(self, data: memoryview) -> None:
        self.inner.sendall(data)


@pytest.mark.parametrize("status", [b"400 Bad Request", b"403 Forbidden", b"500 Internal Server Error"])
def test_an_answer_the_platform_refuses_is_an_error(status: bytes) -> None:
    refusal = b"HTTP/1.1 " + status + b'\r\nContent-Length: 38\r\n\r\n{"errorType":"InvalidStateTransition"}'
    with connected() as (client, platform):
        client.respond(Invocation({"lambda-runtime-aws-request-id": "z"}, b""), b"[1]", "application/json")
        platform.sendall(refusal * 3)

        with pytest.raises(RuntimeApiError, match=f"found {status[:3].decode()}"):
            client.receive()


def test_a_next_that_is_refused_is_an_error() -> None:
    with connected() as (client, platform):
        client.ask_next()
        platform.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

        with pytest.raises(RuntimeApiError, match="expected an invocation"):
            client.receive()


def test_a_closed_connection_is_the_end() -> None:
    with connected() as (client, platform):
        client.ask_next()
        platform.recv(65536)
        platform.shutdown(socket.SHUT_RDWR)

        with pytest.raises(ConnectionLost):
            client.receive()
