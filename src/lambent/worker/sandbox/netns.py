"""Network namespaces, held as file descriptors: make one, step into one and back.

A namespace belongs to the calling thread; sockets and child processes made inside stay there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from lambent.worker.sandbox.kernel import CLONE_NEWNET, setns, unshare


def current_namespace() -> int:
    """The calling thread's network namespace, as a descriptor the caller closes."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def new_namespace() -> int:
    """A fresh network namespace; it lives as long as this descriptor, a process or a mount holds it.

    Raises:
        PermissionError: the caller lacks CAP_SYS_ADMIN.
    """
    with inside_new_namespace() as made:
        return made


@contextmanager
def inside_new_namespace() -> Iterator[int]:
    """Make a namespace and run the block in it, then return to the one before. The descriptor is the caller's."""
    home = current_namespace()
    try:
        unshare(CLONE_NEWNET)
        try:
            yield current_namespace()
        finally:
            setns(home, CLONE_NEWNET)
    finally:
        os.close(home)


@contextmanager
def inside(namespace: int) -> Iterator[None]:
    """Run the block in another network namespace, then return to the one before."""
    home = current_namespace()
    try:
        setns(namespace, CLONE_NEWNET)
        try:
            yield
        finally:
            setns(home, CLONE_NEWNET)
    finally:
        os.close(home)
