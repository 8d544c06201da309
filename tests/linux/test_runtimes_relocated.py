"""Every interpreter found on this host works at /var/lang, where it was not built to be."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lambent.worker.runtimes import Interpreter, discover

RELOCATED = [one for one in discover() if one.language == "python" and one.language_dir is not None]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")

_ALONE_AT_VAR_LANG = """
set -e
mount -t tmpfs none "$1"
mkdir "$1/lang"
mount --bind "$2" "$1/lang"
mount -t tmpfs none "$2"
exec env -i LD_LIBRARY_PATH="$1/lang/lib" "$1/lang/$3" -I -c "$4"
"""
_FACTS = "import sys, ssl, ctypes, json, encodings; print(sys.prefix, ssl.__file__, '%d.%d.%d' % sys.version_info[:3])"


@pytest.mark.parametrize("interpreter", RELOCATED, ids=lambda one: f"{one.source}-{one.version}")
def test_an_interpreter_finds_its_library_where_it_is_bound(interpreter: Interpreter, tmp_path: Path) -> None:
    name = interpreter.executable.relative_to(interpreter.prefix)
    script = ["sh", "-c", _ALONE_AT_VAR_LANG, "sh", str(tmp_path), str(interpreter.language_dir), str(name), _FACTS]

    done = subprocess.run(["unshare", "--mount", *script], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    prefix, ssl_file, version = done.stdout.split()
    assert prefix == f"{tmp_path}/lang"
    assert ssl_file.startswith(prefix)
    assert version == interpreter.version
