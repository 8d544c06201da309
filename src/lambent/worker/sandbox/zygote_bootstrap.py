"""What a zygote starts, mounted where an environment has /var/runtime/bootstrap.py: whose place its children are in."""

import sys

path = list(sys.path)
sys.path.insert(0, "/run")

from lambent.worker.sandbox.zygote import serve  # noqa: E402 - /run is where we are shown to it

serve(path)
del serve, path, sys

from lambent_runtime.loop import main  # type: ignore[import-not-found]  # noqa: E402 - only a runtime comes here

main()
