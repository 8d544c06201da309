"""`lambent completion`: let a shell complete our commands."""

from __future__ import annotations

from typing import Literal


def completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Print a completion script, for your shell to read: `source <(lambent completion bash)`.

    Parameters
    ----------
    shell:
        The shell to complete in.
    """
    from lambent.cli import app

    print(app.generate_completion(shell=shell))
