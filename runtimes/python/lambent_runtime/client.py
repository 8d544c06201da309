"""The Runtime API: ask for an invocation, answer it.

The answer to one invocation and the question for the next are sent together. Nothing can happen between them, so a
warm invoke costs one write, one read and one waking up.
"""

from __future__ import annotations

from lambent_runtime.connection import connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambent_runtime.connection import Connection

_ROOT = "/2018-06-01/runtime"
_RESPONSE_LIMIT_BYTES = 6 * 1024 * 1024 + 100

# Longer than "accepted", which comes at once and need not wake anybody; shorter than that and an invocation together.
_WAKE_AT_BYTES = 160

_STREAMED = (
    "Lambda-Runtime-Function-Response-Mode: streaming\r\n"
    "Transfer-Encoding: chunked\r\n"
    "Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n"
)


class RuntimeApiError(Exception):
    """The Runtime API refused what this client asked; the runtime cannot go on."""


class Invocation:
    """What `next` hands out: the headers by lower-case name, and the event as bytes."""

    __slots__ = ("body", "headers")

    def __init__(self, headers: dict[str, str], body: bytes) -> None:
        self.headers = headers
        self.body = body

    @property
    def request_id(self) -> str:
        return self.headers["lambda-runtime-aws-request-id"]


class RuntimeClient:
    """Speaks to the Runtime API at `address` (`host:port`, as in AWS_LAMBDA_RUNTIME_API)."""

    __slots__ = ("_answers_due", "_connection", "_host", "_next", "is_streaming")

    def __init__(self, address: str, connection: Connection | None = None) -> None:
        host, _, port = address.rpartition(":")
        self._connection = connection or connect(host, int(port))
        self._host = f"Host: {address}\r\n"
        self._next = f"GET {_ROOT}/invocation/next HTTP/1.1\r\n{self._host}\r\n".encode()
        self._answers_due = 0
        self.is_streaming = False  # a response has begun that is not at its end

    def ask_next(self) -> None:
        """Ask for the first invocation; later ones are asked for together with the answer before."""
        self._connection.send(self._next)

    def receive(self) -> Invocation:
        """Wait for the invocation asked for, however long that takes."""
        while self._answers_due:
            self._answers_due -= 1
            self._check_accepted()
        status, headers, body = self._connection.read_answer()
        if status != 200:
            raise RuntimeApiError(f"expected an invocation (200) from next, found {status}: {body!r}")
        return Invocation(headers, body)

    def respond(self, invocation: Invocation, body: bytes, content_type: str) -> None:
        """Answer with the handler's result and ask for the next invocation."""
        # One byte too many is refused like a gigabyte too many, and sooner.
        self._answer(invocation, "response", body[: _RESPONSE_LIMIT_BYTES + 1], f"Content-Type: {content_type}\r\n")

    def fail(self, invocation: Invocation, body: bytes, headers: str) -> None:
        """Answer with an error document and ask for the next invocation; `headers` are whole lines."""
        self._answer(invocation, "error", body, headers)

    def begin_stream(self, invocation: Invocation, data: bytes | memoryview, content_type: str) -> None:
        """Begin to answer in pieces; `data`, unless it is empty, is the first of them."""
        self.is_streaming = True
        lines = f"Content-Type: {content_type}\r\n{_STREAMED}{self._attempt(invocation)}"
        head = f"POST {_ROOT}/invocation/{invocation.request_id}/response HTTP/1.1\r\n{self._host}{lines}\r\n".encode()
        self._connection.send(head, *_chunk(data))

    def send_piece(self, data: bytes | memoryview) -> None:
        if data:
            self._connection.send(*_chunk(data))

    def end_stream(self, trailers: str = "") -> None:
        """End the answer and ask for the next invocation; `trailers` are whole lines."""
        self.is_streaming = False
        self._connection.send(f"0\r\n{trailers}\r\n".encode(), self._next, wake_at=_WAKE_AT_BYTES)
        self._answers_due += 1

    def post_init_error(self, body: bytes, headers: str) -> None:
        """Report that this runtime cannot start, and wait until the platform knows."""
        self._connection.send(self._post("init/error", body, headers), body)
        self._connection.read_answer()

    def wait_for_restore(self) -> None:
        """Say that Init is over and this process may be forked from, and wait until it is to fork."""
        self._connection.send(f"GET {_ROOT}/restore/next HTTP/1.1\r\n{self._host}\r\n".encode())
        status, _, body = self._connection.read_answer()
        if status != 200:
            raise RuntimeApiError(f"expected to be held (200), found {status}: {body!r}")

    def post_restore_error(self, body: bytes, headers: str) -> None:
        """Report that this environment cannot be restored, and wait until the platform knows."""
        self._connection.send(self._post("restore/error", body, headers), body)
        self._connection.read_answer()

    def _answer(self, invocation: Invocation, outcome: str, body: bytes, headers: str) -> None:
        headers += self._attempt(invocation)
        head = self._post(f"invocation/{invocation.request_id}/{outcome}", body, headers)
        self._connection.send(head, body, self._next, wake_at=_WAKE_AT_BYTES)
        self._answers_due += 1

    def _post(self, path: str, body: bytes, headers: str) -> bytes:
        return f"POST {_ROOT}/{path} HTTP/1.1\r\n{self._host}{headers}Content-Length: {len(body)}\r\n\r\n".encode()

    def _attempt(self, invocation: Invocation) -> str:
        attempt = invocation.headers.get("lambda-runtime-invocation-id")
        return f"Lambda-Runtime-Invocation-Id: {attempt}\r\n" if attempt else ""

    def _check_accepted(self) -> None:
        status, _, body = self._connection.read_answer()
        if status not in (202, 413):  # 413: too large; the platform has told the caller, and life goes on
            raise RuntimeApiError(f"expected the answer to be accepted (202), found {status}: {body!r}")


def _chunk(data: bytes | memoryview) -> tuple[bytes | memoryview, ...]:
    return (b"%x\r\n" % len(data), data, b"\r\n") if data else ()
