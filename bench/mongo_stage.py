"""The stage of the MongoDB benchmark: a responder in place of a server and, in front of it, HAProxy and holdfast, on free loopback ports.

It starts and ends them and knows their settings; it measures nothing.
"""

import os
import pathlib
import socket
import struct

from stage import HAPROXY, LISTEN, ROOT, Missing, Targets, program, read_exactly

from support import processes  # stage.py has put tests/ on the path
from support.waiting import free_port

TARGETS = ("direct", "haproxy", "holdfast")
BUILD = ROOT / "build" / "release"
# An OP_MSG with the body {ping: 1, $db: "admin"}: the header, no flags, a section of kind 0.
PING_BODY = b"\x1e\0\0\0\x10ping\0\1\0\0\0\2$db\0\6\0\0\0admin\0\0"
PING = struct.pack("<iiiiIB", 21 + len(PING_BODY), 1, 0, 2013, 0, 0) + PING_BODY


def check(targets, holdfast, build):
    """Raises Missing where a program that these targets need is not there."""
    for path in (build / "bench-mongo-responder", build / "bench-mongo-load", *([holdfast] if "holdfast" in targets else [])):
        if not os.access(path, os.X_OK):
            raise Missing(f"{path} does not exist: build it")
    if "haproxy" in targets:
        program("haproxy")


class Client:
    """One connection that asks `ping`."""

    def __init__(self, port):
        self._socket = socket.create_connection((LISTEN, port), timeout=30)

    def ping(self):
        self._socket.sendall(PING)
        head = read_exactly(self._socket, 4)
        read_exactly(self._socket, struct.unpack("<i", head)[0] - 4)

    def close(self):
        self._socket.close()


class MongoStage(Targets):
    """A context manager; `open` a target to have it, `ports` says where it listens."""

    def __init__(self, clients_max, holdfast, build=BUILD):
        super().__init__(clients_max, holdfast)
        self.build = pathlib.Path(build)

    def _start_server(self):
        processes.give_away(self.folder)
        self._open("direct", ["setpriv", "--pdeathsig", "KILL", "--", str(self.build / "bench-mongo-responder")])

    def open(self, name):
        """Starts a target and waits until a ping passes through it. `direct` is the responder itself, which runs already."""
        if name != "direct":
            self._open(name)

    def reopen(self, name):
        self.close(name)
        self.open(name)

    def _open(self, name, command=None):
        self.ports[name] = free_port()
        self._launch(name, [*command, str(self.ports[name])] if command else getattr(self, f"_{name}_command")())

        def answers():
            client = Client(self.ports[name])
            client.ping()
            client.close()
            return True
        self._wait_until(name, answers)

    def _haproxy_command(self):
        path = self.folder / "haproxy.conf"
        path.write_text(HAPROXY.format(listen=LISTEN, port=self.ports["haproxy"], upstream=self.ports["direct"], clients=self.clients_max + 20))
        return processes.unprivileged([program("haproxy"), "-db", "-f", str(path)])

    def _holdfast_command(self):
        return self._run_holdfast("holdfast", f"mongodb://{LISTEN}:{self.ports['direct']}/?replicaSet=bench", {})
