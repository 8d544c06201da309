"""What runs for each invocation is compiled to C, where `script/compile` has done that (decision 0012).

The compiled modules lie in `_compiled/`, in a directory that is named by what they were made from and for. They are
imported only if that is exactly the sources that lie here, and this interpreter: otherwise the sources are. So an edit
takes effect at once, and nothing has to be compiled. The program's entry asks for it, before it imports any of them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec
from importlib.util import source_hash
from types import ModuleType

MODULES = (
    "lambent.adapters.log_blocks",
    "lambent.adapters.sqlite.log_writer",
    "lambent.frontend.gateway",
    "lambent.frontend.ids",
    "lambent.frontend.invoke_api",
    "lambent.frontend.plain_invokes",
    "lambent.frontend.services",
    "lambent.http.body",
    "lambent.http.connection",
    "lambent.http.exchange",
    "lambent.http.wire",
    "lambent.iam.authenticator",
    "lambent.iam.signed_request",
    "lambent.iam.sigv4",
    "lambent.invoke.dispatch",
    "lambent.invoke.invoker",
    "lambent.invoke.recursion",
    "lambent.invoke.resolve",
    "lambent.invoke.tracing",
    "lambent.invoke.waiting",
    "lambent.logs.lines",
    "lambent.logs.stream",
    "lambent.logs.writer",
    "lambent.manager.counter",
    "lambent.manager.manager",
    "lambent.manager.placement",
    "lambent.manager.pool",
    "lambent.manager.provision",
    "lambent.manager.rates",
    "lambent.spec.scope",
    "lambent.worker.alarm",
    "lambent.worker.answers",
    "lambent.worker.environment",
    "lambent.worker.event_buffer",
    "lambent.worker.event_stream",
    "lambent.worker.extensions",
    "lambent.worker.invocation",
    "lambent.worker.lifecycle",
    "lambent.worker.memory_peak",
    "lambent.worker.output",
    "lambent.worker.reporter",
    "lambent.worker.runtime_api",
    "lambent.worker.sandbox.sandbox",
    "lambent.worker.worker",
)
"""Together: what they call of each other is bound when they are compiled."""
GROUP = "lambent__mypyc"
"""The library that holds the code of all of them."""
OPT_OUT = "LAMBENT_UNCOMPILED"
"""The variable of the environment that, set to anything, has the sources imported: to profile or to debug them."""

SUFFIX = EXTENSION_SUFFIXES[0]
_PACKAGE = os.path.dirname(os.path.abspath(__file__))


def directory() -> str:
    """Where modules lie that were compiled from the present sources for this interpreter; perhaps nowhere."""
    sources = []
    for module in MODULES:
        with open(source(module), "rb") as file:
            sources.append(file.read())
    return os.path.join(_PACKAGE, "_compiled", source_hash(b"\0".join(sources)).hex() + SUFFIX)


def source(module: str) -> str:
    """The file that a module is compiled from."""
    return os.path.join(_PACKAGE, *module.split(".")[1:]) + ".py"


def is_in_use() -> bool:
    """Whether this process runs compiled modules."""
    return GROUP in sys.modules


def use() -> None:
    """Import what is compiled, from now on, in place of its source."""
    try:
        has_any = any(name.endswith(SUFFIX) for name in os.listdir(os.path.join(_PACKAGE, "_compiled")))
    except OSError:
        return
    if has_any and OPT_OUT not in os.environ:
        compiled = directory()
        if os.path.isdir(compiled):
            sys.meta_path.insert(0, _Finder(compiled))


class _Finder:
    def __init__(self, compiled: str) -> None:
        self._files = {module: os.path.join(compiled, module + SUFFIX) for module in (*MODULES, GROUP)}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        file = self._files.get(fullname)
        return None if file is None else ModuleSpec(fullname, ExtensionFileLoader(fullname, file), origin=file)
