"""From one environment of a snapshot to another: they begin alike, and from there on know nothing of each other."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from containment_target import Target

Victim = Callable[..., str]

PAIR = """
import ctypes, os, secrets, signal, socket, time
libc = ctypes.CDLL(None, use_errno=True)
KEY = 0x1A3C
listener = socket.create_server(("127.0.0.1", 8080))
datagram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
datagram.bind("\\0both")
segment = libc.shmget(KEY, 4096, 0o1666)
token = secrets.token_hex(8)
template = os.getpid()
open("/tmp/both", "w").write("init")
def attempt(what):
    try:
        return what()
    except OSError as error:
        return type(error).__name__
def handler(event, context):
    seen = sorted(os.listdir("/tmp"))
    open("/tmp/" + event["name"], "w").write(token)
    open("/tmp/both", "a").write(event["name"])
    time.sleep(1)
    return {
        "token": token, "uid": os.getuid(), "seen": seen, "tmp": sorted(os.listdir("/tmp")),
        "both": open("/tmp/both").read(), "fresh": secrets.token_hex(8),
        "tcp": attempt(lambda: socket.create_connection(("127.0.0.1", 8080), 1)),
        "unix": attempt(lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"x", "\\0both")),
        "listener": attempt(listener.accept), "datagram": attempt(datagram.getsockname),
        "memory": libc.shmget(KEY, 4096, 0o666),
        "processes": [pid for pid in range(1, 400) if attempt(lambda: os.kill(pid, 0)) is None],
        "groups": attempt(lambda: os.killpg(template, 0)) if template > 3 else "PermissionError",
        "own": os.getpid(),
    }
"""


def test_two_environments_of_one_snapshot_do_not_reach_each_other(
    target: Target, victim: Victim, with_snapshot: Callable[[str], str]
) -> None:
    """Not by what Init has opened, bound, mapped or written either."""
    name = victim(PAIR, Timeout=20)
    number = with_snapshot(name)
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda which: target.invoke(name, {"name": which}, Qualifier=number), ["first", "other"])

    assert one["token"] == other["token"], "both begin where Init has ended"
    assert one["fresh"] != other["fresh"]
    assert one["uid"] != other["uid"]
    for which, found in (("first", one), ("other", other)):
        assert "errorMessage" not in found, found
        assert (found["seen"], found["tmp"]) == (["both"], sorted(["both", which]))
        assert found["both"] == f"init{which}"
        assert (found["tcp"], found["unix"]) == ("ConnectionRefusedError", "ConnectionRefusedError")
        assert found["listener"] == "OSError"
        assert found["datagram"] == ""
        assert found["memory"] == -1
        assert found["processes"] == [1, found["own"]]


DOOR = """
import os
template = os.getpid()
memory = os.open("/proc/self/mem", os.O_RDWR)
place = os.open(f"/proc/{template}", os.O_DIRECTORY)
word = bytearray(b"init")
def handler(event, context):
    import ctypes
    address = ctypes.addressof((ctypes.c_char * len(word)).from_buffer(word))
    try:
        os.pwrite(memory, event.encode(), address)
        told = os.pread(memory, 4, address).decode()
    except OSError as error:
        told = type(error).__name__
    try:
        os.open("environ", os.O_RDONLY, dir_fd=place)
        door = "open"
    except OSError as error:
        door = type(error).__name__
    return {"word": word.decode(), "told": told, "door": door}
"""


def test_a_template_cannot_be_changed_by_what_was_made_of_it(
    target: Target, victim: Victim, with_snapshot: Callable[[str], str]
) -> None:
    """Not through its own memory either, which Init may have opened: the way there leads nowhere."""
    name = victim(DOOR, Timeout=20)
    number = with_snapshot(name)
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda word: target.invoke(name, word, Qualifier=number), ["evil", "evil"]))

    for found in answers:
        assert found["word"] == "init"
        assert found["told"] in ("", "OSError")
        assert found["door"] == "NotADirectoryError"
