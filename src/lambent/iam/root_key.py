"""The root key pair of a data directory: made at the first start, kept readable by its owner only."""

from __future__ import annotations

import os
import secrets
import string
import tempfile
from pathlib import Path

import msgspec

from lambent.iam.authenticator import DEFAULT_ACCOUNT, Key
from lambent.iam.sigv4 import Credential
from lambent.model.errors import PlatformError

FILE_NAME = "root-key.json"
_BASE32 = string.ascii_uppercase + "234567"
_SECRET = string.ascii_letters + string.digits + "+/"


class _StoredKey(msgspec.Struct, frozen=True):
    access_key_id: str
    secret_access_key: str


def load_or_create(data_dir: Path) -> Key:
    """The root key of account 000000000000.

    Raises:
        PlatformError: the key file is damaged, or others may read it.
    """
    path = data_dir / FILE_NAME
    if not path.exists():
        _write_new(path)
    stored = _read(path)
    credential = Credential(stored.access_key_id, stored.secret_access_key)
    return Key(credential=credential, account=DEFAULT_ACCOUNT)


def _read(path: Path) -> _StoredKey:
    if (mode := path.stat().st_mode & 0o777) & 0o077:
        raise PlatformError(f"{path} holds a secret but has mode {mode:o}; run `chmod 600` on it")
    try:
        return msgspec.json.decode(path.read_bytes(), type=_StoredKey)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise PlatformError(
            f"{path} should hold the root key pair as JSON but does not ({exc}); restore it, or remove it for a new one"
        ) from exc


def _write_new(path: Path) -> None:
    """All of it or nothing, and never over a key that is there already."""
    key = _StoredKey(
        access_key_id="AKIA" + "".join(secrets.choice(_BASE32) for _ in range(16)),
        secret_access_key="".join(secrets.choice(_SECRET) for _ in range(40)),
    )
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=FILE_NAME)  # made with mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(key))
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        pass  # another start was faster: its key stands
    finally:
        os.unlink(temporary)
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
