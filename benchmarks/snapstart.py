"""SnapStart of a function that is heavy to initialise, beside the same function without: numpy and a table of 50 MB."""

from __future__ import annotations

import importlib.util
import io
import time
import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.lambent import Target

_CODE = """
import numpy, os
table = numpy.random.default_rng(1).random(50 * 2**20 // 8)
def handler(event, context):
    if event == "exit":
        os._exit(0)
    return float(table[12345])
"""
_ENDED_S = 0.3
"""By then what the end of an environment makes necessary is done."""
_PUBLISHED_S = 60.0
_MEMORY_MIB = 1769


class Unavailable(Exception):
    """There is no numpy to be packed."""


@contextmanager
def numpy_layer(target: Target) -> Iterator[str]:
    """numpy as it is installed here, as a layer; its ARN."""
    client = target.client
    published = client.publish_layer_version(LayerName="numpy", Content={"ZipFile": _packed()})
    try:
        yield published["LayerVersionArn"]
    finally:
        client.delete_layer_version(LayerName="numpy", VersionNumber=published["Version"])


def restored(target: Target, layer: str, count: int, told: AbstractContextManager[None]) -> list[float]:
    """Seconds from request to answer of one version with SnapStart, sorted, each in a new environment."""
    name = "snapstart"
    target.deploy(
        name, _CODE, Layers=[layer], MemorySize=_MEMORY_MIB, Timeout=60, SnapStart={"ApplyOn": "PublishedVersions"}
    )
    client = target.client
    _publish(client, name)
    try:
        latencies = []
        with told:
            for _ in range(count + 1):
                latencies += target.load(f"{name}:1", connections=1, count=1).latencies_s
                client.invoke(FunctionName=name, Qualifier="1", Payload='"exit"')  # the next is to have one of its own
                time.sleep(_ENDED_S)
        return sorted(latencies[1:])
    finally:
        client.delete_function(FunctionName=name)


def initialised(target: Target, layer: str, count: int, told: AbstractContextManager[None]) -> list[float]:
    """The same of functions without it, each never invoked before."""
    settings = {"Layers": [layer], "MemorySize": _MEMORY_MIB, "Timeout": 60}
    return target.cold("no-snapstart", _CODE, count, told=told, **settings)


def _publish(client: Any, name: str) -> None:
    client.publish_version(FunctionName=name)
    deadline = time.monotonic() + _PUBLISHED_S
    while time.monotonic() < deadline:
        found = client.get_function_configuration(FunctionName=name, Qualifier="1")
        if found["State"] == "Active":
            return
        if found["State"] == "Failed":
            raise RuntimeError(found["StateReason"])
        time.sleep(0.05)
    raise TimeoutError(f"{name} is still {found['State']}")


def _packed() -> bytes:
    spec = importlib.util.find_spec("numpy")
    if spec is None or spec.origin is None:
        raise Unavailable("numpy is not installed")
    package = Path(spec.origin).parent
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for top in (package, package.with_name("numpy.libs")):
            for file in top.rglob("*"):
                inside = file.relative_to(package.parent)
                if file.is_file() and not {"tests", "__pycache__"} & set(inside.parts):
                    archive.write(file, f"python/{inside}")
    return buffer.getvalue()
