"""What every runtime begins with, whatever its function; done once, by importing this, so that a zygote can do it."""

from __future__ import annotations

import os
import site
import sys

from lambent_runtime.handler import arrange_path

arrange_path(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
site.setquit()  # `exit` and `quit`, which `-S` (no packages of the host in sight) leaves out
sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)  # type: ignore[union-attr]
sys.stderr.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]
