"""`lambent env`: what AWS's own tools must be told to use this server."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from lambent.cli.connection import ANY_SERVER, DEFAULT_REGION, Server
from lambent.cli.failure import ExitStatus, Failure
from lambent.cli.output import print_json
from lambent.config import DEFAULT_DATA_DIR

_KEY_FILE = "root-key.json"


def env(*, data_dir: Path = DEFAULT_DATA_DIR, server: Server = ANY_SERVER) -> None:
    """Print the variables that point AWS's tools at this server: `eval "$(lambent env)"`.

    Parameters
    ----------
    data_dir:
        The server's data directory, which holds the root key that `--auth enforce` checks. Without one, a dummy key.
    """
    variables = _variables(server.endpoint_url, data_dir)
    if server.as_json:
        print_json(variables)
        return
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")


def _variables(endpoint_url: str, data_dir: Path) -> Mapping[str, str]:
    key_id, secret = _root_key(data_dir / _KEY_FILE)
    return {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_ACCESS_KEY_ID": key_id,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": os.environ.get("AWS_DEFAULT_REGION", DEFAULT_REGION),
    }


def _root_key(path: Path) -> tuple[str, str]:
    try:
        key = json.loads(path.read_text())
        return key["access_key_id"], key["secret_access_key"]
    except FileNotFoundError:
        return "test", "test"
    except (ValueError, KeyError) as exc:
        raise Failure(f"{path} should hold the root key but does not: {exc!r}", status=ExitStatus.FAILED) from exc
