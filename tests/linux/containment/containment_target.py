"""A server under attack, where signatures are checked, and what it has to hide."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import Any

from lambent.testing.service import RunningService, deploy


def addresses_of_this_host() -> list[str]:
    """Those by which it reaches the world."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return []
        return [probe.getsockname()[0]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """`client` signs with the root key; `secret` is known to the server's environment and to a file of the host."""

    service: RunningService
    client: Any
    keys: dict[str, str]
    role: str
    secret: str
    event: dict[str, Any]
    """What attackers are told of the host, so that they know where to look."""

    def signed(self, service: str) -> Any:
        """A client of another service that signs with the root key."""
        return self.service.client(service, **self.keys)

    def deploy(self, name: str, code: Any, **parameters: Any) -> str:
        return deploy(self.client, name, code, **{"Role": self.role, **parameters})

    def invoke(self, name: str, event: Any = None, **parameters: Any) -> Any:
        response = self.client.invoke(FunctionName=name, Payload=json.dumps(event), **parameters)
        return json.loads(response["Payload"].read() or "null")
