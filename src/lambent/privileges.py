"""Giving up privileges: once sandboxd runs, the server itself needs none (docs/decisions/0001).

Started as root, the server keeps its user id unless told another (`--user`), loses every capability for good, and can
gain none by running a program. What it may still touch is what root's files allow their owner.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import sys
from pathlib import Path

from lambent.model.errors import PlatformError

_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522
_CAP_DAC_OVERRIDE = 1
_LAST_CAPABILITY = Path("/proc/sys/kernel/cap_last_cap")

_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def drop(*, user: str | None, data_dir: Path) -> None:
    """Lose root's powers for good. Does nothing when not started as root.

    Raises:
        PlatformError: no such user, or the data directory would be out of reach afterwards.
    """
    if os.geteuid() != 0:
        return
    if user is not None:
        _become(user, data_dir)
    needed = (data_dir, Path(__file__).parent, Path(sys.prefix))
    is_reachable = data_dir.stat().st_uid == 0 and all(_is_reachable_by_mode(path) for path in needed)
    keep = 0 if user is not None or is_reachable else 1 << _CAP_DAC_OVERRIDE
    for capability in range(int(_LAST_CAPABILITY.read_text()) + 1):
        if not keep >> capability & 1:
            _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _set_capabilities(keep)


def _become(user: str, data_dir: Path) -> None:
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        raise PlatformError(
            f"--user {user}: there is no such user on this host; make it, or leave --user out"
        ) from None
    for path in [data_dir, *data_dir.rglob("*")]:
        if not {"sandboxes", "runtime"} & {*path.relative_to(data_dir).parts[:1]}:  # sandboxd's own, and what it runs
            os.lchown(path, account.pw_uid, account.pw_gid)
    os.initgroups(user, account.pw_gid)
    os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
    os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)
    if not os.access(data_dir, os.R_OK | os.W_OK | os.X_OK):
        raise PlatformError(f"{data_dir} is out of reach of user {user}; choose a --data-dir it can enter and write")


def _is_reachable_by_mode(path: Path) -> bool:
    """Whether root without its override can still enter there: below the home of another user it cannot."""
    return all(one.stat().st_uid == 0 or one.stat().st_mode & 0o005 == 0o005 for one in [path, *path.parents])


def _set_capabilities(effective: int) -> None:
    header = _Header(_CAPABILITY_VERSION_3, 0)
    data = (_Data * 2)(_Data(effective, effective, 0), _Data(0, 0, 0))
    if _libc.capset(ctypes.byref(header), data) != 0:
        raise PlatformError(
            f"capset failed: {os.strerror(ctypes.get_errno())}; the server keeps no capability it needs"
        )
