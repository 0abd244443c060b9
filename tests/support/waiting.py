"""Waiting for a condition with a deadline, so that no test sleeps a guessed time. Knows nothing of what is waited for."""

import fcntl
import pathlib
import random
import socket
import tempfile
import time


def wait_for(condition, deadline=10.0, what=None, interval=0.02):
    """Calls `condition` until it returns something true, and returns that.

    `deadline` and `interval` are seconds. An exception of the condition counts as "not yet" and is shown at the deadline.
    """
    end = time.monotonic() + deadline
    last = None
    while True:
        try:
            value = condition()
            if value:
                return value
            last = f"last value: {value!r}"
        except Exception as error:  # pylint: disable=broad-except
            last = f"last error: {error!r}"
        if time.monotonic() >= end:
            name = what or getattr(condition, "__name__", "condition")
            raise AssertionError(f"not within {deadline} s: {name} ({last})")
        time.sleep(interval)


_taken = {}  # port → its file, locked for as long as this process lives


def _take(port):
    """Keeps other tests that run beside this one from taking the port too, though nobody listens there at the moment."""
    folder = pathlib.Path(tempfile.gettempdir()) / "holdfast-test-ports"
    folder.mkdir(exist_ok=True)
    lock = open(folder / str(port), "ab")  # pylint: disable=consider-using-with
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return False
    _taken[port] = lock
    return True


def free_port():
    """A TCP port of 127.0.0.1 that nobody listens on, below the kernel's ephemeral range.

    A port from that range could be taken by somebody's outgoing connection while the test's server is down.
    """
    for _ in range(1000):
        port = random.randrange(15000, 31000)
        if port in _taken:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if _take(port):
            return port
    raise AssertionError("no free port between 15000 and 31000")
