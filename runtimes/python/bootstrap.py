"""What an environment of a Python function starts: `python3.X -S /var/runtime/bootstrap.py`."""

from lambent_runtime.loop import main

main()
