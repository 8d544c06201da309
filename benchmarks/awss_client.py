"""The hello function under AWS's own Python runtime client, unmodified, as a custom runtime of Lambent."""

from __future__ import annotations

from pathlib import Path

from benchmarks import peer_rie
from benchmarks.lambent import Target
from lambent.testing.service import make_zip

_PYTHON = Path("/usr/bin/python3")
"""What functions of custom runtimes find on the host."""
_BOOTSTRAP = f"#!/bin/sh\nexport PYTHONPATH=/var/task\nexec {_PYTHON} -m awslambdaric app.handler\n"


def deploy(server: Target, name: str) -> None:
    """Raises `peer_rie.Unavailable` where AWS's client cannot be had."""
    if not _PYTHON.exists():
        raise peer_rie.Unavailable(f"no {_PYTHON} on this host")
    _, packages = peer_rie.prepare()
    files = {str(path.relative_to(packages)): path.read_bytes() for path in packages.rglob("*") if path.is_file()}
    package = make_zip({**files, "bootstrap": _BOOTSTRAP}, executable=("bootstrap",))
    server.deploy(name, package, Runtime="provided.al2023", MemorySize=1769, Timeout=10)
