"""Floods: each goes on until it is stopped, and answers where that was."""

import array
import ctypes
import errno
import mmap
import os
import resource
import shutil
import signal
import socket
import sys
import threading
import time

libc = ctypes.CDLL(None, use_errno=True)
MIB = 1 << 20


def fork():
    children = []
    try:
        while True:
            pid = os.fork()
            if pid == 0:
                time.sleep(60)
                os._exit(0)
            children.append(pid)
    except OSError as error:
        return [errno.errorcode[error.errno], len(children)]
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        for pid in children:
            os.waitpid(pid, 0)


def threads():
    threading.stack_size(32768)
    done, started = threading.Event(), []
    try:
        while True:
            thread = threading.Thread(target=done.wait, daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError:
        return len(started)
    finally:
        done.set()
        for thread in started:
            thread.join()


def descriptors():
    held = []
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError as error:
        return [errno.errorcode[error.errno], len(held)]
    finally:
        for descriptor in held:
            os.close(descriptor)


def inodes():
    os.makedirs("/tmp/many")
    directory = os.open("/tmp/many", os.O_RDONLY)
    made = 0
    try:
        while True:
            os.close(os.open(str(made), os.O_CREAT | os.O_WRONLY, dir_fd=directory))
            made += 1
    except OSError as error:
        return [errno.errorcode[error.errno], made, os.statvfs("/tmp").f_files]
    finally:
        os.close(directory)
        shutil.rmtree("/tmp/many")


def disk():
    chunk, written = bytes(8 * MIB), 0
    try:
        with open("/tmp/big", "wb", buffering=0) as file:
            while True:
                written += file.write(chunk)
    except OSError as error:
        return [errno.errorcode[error.errno], written // MIB]
    finally:
        os.unlink("/tmp/big")


def sparse():
    """A file of the largest size there is takes nothing, and no more can be put into it than /tmp holds."""
    try:
        with open("/tmp/sparse", "wb") as file:
            os.truncate(file.fileno(), 1 << 40)
            os.posix_fallocate(file.fileno(), 0, 1 << 32)
        return "done"
    except OSError as error:
        return errno.errorcode[error.errno]
    finally:
        os.unlink("/tmp/sparse")


def connections():
    """Fill connections that nobody reads from; answers how much they took."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    held, taken, chunk = [listener], 0, bytes(MIB)
    for _ in range(160):
        sender = socket.create_connection(listener.getsockname())
        held += [sender, listener.accept()[0]]
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 * MIB)
        sender.setblocking(False)
        try:
            while True:
                taken += sender.send(chunk)
        except BlockingIOError:
            pass
    for one in held:
        one.close()
    return taken // MIB


def watches():
    """inotify's instances are counted for each user, and this user is nobody else."""
    held = []
    while len(held) < 1000:
        descriptor = libc.inotify_init1(0)
        if descriptor < 0:
            break
        held.append(descriptor)
    reason = errno.errorcode.get(ctypes.get_errno())
    for descriptor in held:
        os.close(descriptor)
    return [reason, len(held)]


def memory():
    kept = []
    while True:
        kept.append(bytearray(MIB))


def memfd():
    descriptor, chunk = os.memfd_create("hoard"), b"x" * MIB
    while True:
        os.write(descriptor, chunk)


def system_v():
    libc.shmat.restype = ctypes.c_void_p
    libc.shmat.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
    while True:
        identifier = libc.shmget(0, 16 * MIB, 0o1600)
        ctypes.memset(libc.shmat(identifier, None, 0), 1, 16 * MIB)


def shared_mapping():
    kept = []
    while True:
        kept.append(mmap.mmap(-1, 16 * MIB))
        kept[-1].write(b"x" * (16 * MIB))


def descriptors_in_flight():
    """Pass descriptors of sockets into sockets, so that they are nobody's."""
    passed = 0
    try:
        while passed < 100_000:
            one, other = socket.socketpair()
            for _ in range(200):
                one.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [other.fileno()] * 200))])
                passed += 200
    except OSError as error:
        return [errno.errorcode[error.errno], passed]
    return ["none", passed]


def output():
    """Lines without end, then lines without number."""
    os.write(1, b"")
    for _ in range(8):
        written = 0
        while written < MIB:
            written += os.write(1, b"x" * (MIB - written))
    for _ in range(8):
        sys.stdout.write("flood\n" * (MIB // 6))
    sys.stdout.flush()
    return "printed"


def processor():
    """Every thread at work, for as long as it may."""
    end = time.monotonic() + 1.0
    for _ in range(7):
        if os.fork() == 0:
            while time.monotonic() < end:
                pass
            os._exit(0)
    while time.monotonic() < end:
        pass
    while True:
        try:
            os.wait()
        except ChildProcessError:
            break
    used = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(one.ru_utime + one.ru_stime for one in used)


def handler(event, context):
    return globals()[event]()
