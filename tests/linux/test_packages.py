"""Unmodified packages from PyPI: numpy in a function's own zip, and AWS's own runtime client as a custom runtime."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lambent.testing.service import RunningService

Invoke = Callable[..., tuple[Any, dict[str, Any]]]
Function = Callable[..., str]

PYTHON = "/usr/bin/python3.11"


def installed(target: Path, *packages: str) -> Path:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(target)]
    binary = ["--python-version", "3.11", "--only-binary=:all:"]
    subprocess.run([*command, *binary, *packages], check=True, timeout=300)
    return target


def zipped(folder: Path, extra: dict[str, str], executable: tuple[str, ...] = ()) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts and "tests" not in file.parts:
                archive.write(file, file.relative_to(folder))
        for name, content in extra.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (0o755 if name in executable else 0o644) << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


def test_numpy_from_the_functions_own_zip(function: Function, invoke: Invoke, tmp_path: Path) -> None:
    code = "import numpy\ndef handler(event, context):\n    return float(numpy.linalg.det(numpy.array(event)))\n"
    package = zipped(installed(tmp_path / "numpy", "numpy"), {"app.py": code})
    name = function(package, Timeout=30, MemorySize=512)

    payload, response = invoke(name, [[1, 2], [3, 4]])

    assert "FunctionError" not in response, payload
    assert payload == pytest.approx(-2.0)


@pytest.mark.skipif(not Path(PYTHON).exists(), reason=f"AWS's client runs here on {PYTHON}")
def test_awss_own_runtime_client_as_a_custom_runtime(function: Function, invoke: Invoke, tmp_path: Path) -> None:
    files = {
        "app.py": "def handler(event, context):\n    if event is None: raise KeyError('none')\n"
        "    return [event, context.get_remaining_time_in_millis() > 1000]\n",
        "bootstrap": f"#!/bin/sh\nexport PYTHONPATH=/var/task\nexec {PYTHON} -m awslambdaric app.handler\n",
    }
    package = zipped(installed(tmp_path / "ric", "awslambdaric"), files, executable=("bootstrap",))
    name = function(package, Runtime="provided.al2023", Handler="app.handler", Timeout=10)

    assert invoke(name, {"a": [1]})[0] == [{"a": [1]}, True]
    assert invoke(name, "again")[0] == ["again", True]
    error, response = invoke(name, None)
    assert error["errorType"] == "KeyError"
    assert response["FunctionError"] == "Unhandled"


def test_boto3_is_importable_without_being_packed(function: Function, invoke: Invoke) -> None:
    name = function(
        "import boto3\ndef handler(event, context):\n    return boto3.client('lambda').meta.region_name\n",
        Timeout=30,
        MemorySize=512,
    )

    assert invoke(name)[0] == "us-east-1"


def test_every_interpreter_of_this_host_runs_a_function(
    service: RunningService, function: Function, invoke: Invoke
) -> None:
    import json
    import urllib.request

    with urllib.request.urlopen(f"{service.endpoint_url}/_lambent/runtimes") as answer:
        found = {entry["runtime"] for entry in json.load(answer)}
    pythons = sorted(runtime for runtime in found if runtime.startswith("python"))
    assert pythons

    for runtime in pythons:
        name = function("import sys\ndef handler(event, context):\n    return sys.version_info[:2]\n", Runtime=runtime)
        version, response = invoke(name)
        assert "FunctionError" not in response, (runtime, version)
        assert f"python{version[0]}.{version[1]}" == runtime
