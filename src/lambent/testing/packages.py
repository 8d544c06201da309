"""Packages of this interpreter's own environment, as they go into a deployment package."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution

_NAME = re.compile(r"[A-Za-z0-9._-]+")


def vendored(*names: str) -> Mapping[str, bytes]:
    """The files of installed distributions and of all that they need, by their paths in a zip."""
    found: dict[str, Distribution] = {}
    for name in names:
        _collect(name, found)
    return {
        str(file): file.locate().read_bytes()  # type: ignore[attr-defined]  # a Path in every distribution on disk
        for one in found.values()
        for file in one.files or ()
        if not str(file).startswith("..") and "__pycache__" not in file.parts
    }


def _collect(name: str, found: dict[str, Distribution]) -> None:
    key = name.lower().replace("_", "-")
    if key in found:
        return
    try:
        found[key] = distribution(name)
    except PackageNotFoundError:
        return  # needed by some other Python or platform
    for requirement in found[key].requires or ():
        match = _NAME.match(requirement)
        if match is not None and "extra ==" not in requirement:
            _collect(match[0], found)
