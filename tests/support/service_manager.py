"""Plays systemd to a service: the socket of NOTIFY_SOCKET, and what came over it."""

import os
import pathlib
import socket

from support.waiting import wait_for


class ServiceManager:
    """Listens at `path`; `received` are the datagrams so far, each a dictionary of its lines."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(self.path))
        os.chmod(self.path, 0o777)
        self.received = []

    def close(self):
        self._socket.close()
        self.path.unlink(missing_ok=True)

    def _read(self):
        while True:
            try:
                datagram = self._socket.recv(4096).decode()
            except BlockingIOError:
                return
            self.received.append(dict(line.split("=", 1) for line in datagram.splitlines()))

    def count(self, name):
        """How many datagrams had the line NAME=1."""
        self._read()
        return sum(datagram.get(name) == "1" for datagram in self.received)

    def wait_for(self, name, times=1, deadline=10.0):
        """Waits for that many datagrams with the line NAME=1; the last of them."""
        wait_for(lambda: self.count(name) >= times, deadline, f"{times} times {name}=1")
        return [datagram for datagram in self.received if datagram.get(name) == "1"][-1]
