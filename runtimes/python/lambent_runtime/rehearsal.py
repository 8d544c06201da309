"""An invocation before there is one, in a process that waits to become a function's.

A forked process copies every page that it first writes to, and an interpreter writes to whatever it looks at. What is
copied now need not be while somebody waits. Nothing that a function could see is left of it.
"""

from __future__ import annotations

import _socket
import os
import sys
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader

from lambent_runtime import log, loop
from lambent_runtime.client import RuntimeClient
from lambent_runtime.connection import Connection
from lambent_runtime.context import environment_facts
from lambent_runtime.handler import load_handler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_MODULE = "lambent_rehearsal"
_SOURCE = b"import json\ndef handler(event, context):\n    return event\n"
_INVOCATION = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nlambda-runtime-aws-request-id: 0\r\n"
    b"lambda-runtime-deadline-ms: 0\r\nlambda-runtime-invoked-function-arn: arn\r\n"
    b"lambda-runtime-trace-id: Root=1;Sampled=0\r\ncontent-length: 15\r\n\r\n"
    b'{"key":"value"}'
)


def rehearse() -> None:
    """Load a function and invoke it."""
    ours, theirs = _socket.socketpair()
    client = RuntimeClient("127.0.0.1:9001", Connection(ours))
    client.ask_next()
    theirs.sendall(_INVOCATION)
    loop.invoke(_load(), client, client.receive(), environment_facts())
    ours.close()
    theirs.close()
    log.current.request_id = ""
    os.environ.pop(loop.TRACE_ID, None)


def _load() -> loop.Handler:
    """As from a package that holds no compiled modules, but for the reading of its directory and file."""
    _look_into(os.path.dirname(os.__file__))
    sys.meta_path.insert(0, _Finder)
    handler = load_handler(f"{_MODULE}.handler")
    sys.meta_path.remove(_Finder)
    del sys.modules[_MODULE]
    return handler


def _look_into(directory: str) -> None:
    """As at the first import from a directory."""
    remembered = sys.path_importer_cache.copy()
    sys.path_importer_cache.pop(directory, None)
    PathFinder.find_spec(_MODULE, [directory])
    sys.path_importer_cache.clear()
    sys.path_importer_cache.update(remembered)


class _Finder:
    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return ModuleSpec(name, _Loader(name, f"/var/task/{name}.py")) if name == _MODULE else None


class _Loader(SourceFileLoader):
    def path_stats(self, path: str) -> NoReturn:
        raise FileNotFoundError(path)

    def get_data(self, path: str) -> bytes:
        return _SOURCE
