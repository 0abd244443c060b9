"""The stage of the MongoDB benchmark: a responder in place of a server and, in front of it, HAProxy and holdfast, on free loopback ports.

It starts and ends them and knows their settings; it measures nothing.
"""

import os
import pathlib
import socket
import struct
import subprocess
import tempfile

from stage import HAPROXY, LISTEN, ROOT, Missing, program

from support import processes  # stage.py has put tests/ on the path
from support.waiting import free_port, wait_for

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
        head = self._read(4)
        self._read(struct.unpack("<i", head)[0] - 4)

    def close(self):
        self._socket.close()

    def _read(self, size):
        data = b""
        while len(data) < size:
            more = self._socket.recv(size - len(data))
            if not more:
                raise RuntimeError("the connection was closed")
            data += more
        return data


class MongoStage:
    """A context manager; `open` a target to have it, `ports` says where it listens."""

    def __init__(self, clients_max, holdfast, build=BUILD):
        self.clients_max, self.holdfast, self.build = clients_max, pathlib.Path(holdfast), pathlib.Path(build)
        self.ports, self._running = {}, {}
        self._home = tempfile.TemporaryDirectory(prefix="holdfast-bench-")
        self.folder = pathlib.Path(self._home.name)
        processes.give_away(self.folder)

    def __enter__(self):
        self.ports["direct"] = free_port()
        self._launch("direct", ["setpriv", "--pdeathsig", "KILL", "--", str(self.build / "bench-mongo-responder"), str(self.ports["direct"])])
        return self

    def __exit__(self, *_):
        for name in list(self._running):
            self.close(name)
        self._home.cleanup()

    def open(self, name):
        """Starts a target and waits until a ping passes through it. `direct` is the responder itself, which runs already."""
        if name == "direct":
            return
        self.ports[name] = free_port()
        self._launch(name, getattr(self, f"_{name}_command")())

    def reopen(self, name):
        self.close(name)
        self.open(name)

    def close(self, name):
        process = self._running.pop(name)
        process.kill()
        process.wait()

    def pid(self, name):
        """The process whose time and memory count for a target; None for `direct`, where there is no proxy."""
        return None if name == "direct" else self._running[name].pid

    def _launch(self, name, command):
        log = self.folder / f"{name}.log"
        with open(log, "ab") as output:
            self._running[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/")

        def answers():
            client = Client(self.ports[name])
            client.ping()
            client.close()
            return True
        try:
            wait_for(answers, 15.0, f"{name} answers", 0.1)
        except AssertionError as error:
            raise RuntimeError(f"{error}\n{log.read_text(errors='replace')[-3000:]}") from None

    def _haproxy_command(self):
        path = self.folder / "haproxy.conf"
        path.write_text(HAPROXY.format(listen=LISTEN, port=self.ports["haproxy"], upstream=self.ports["direct"], clients=self.clients_max + 20))
        return processes.unprivileged([program("haproxy"), "-db", "-f", str(path)])

    def _holdfast_command(self):
        return ["setpriv", "--pdeathsig", "KILL", "--", str(self.holdfast), "run",
                "--upstream", f"mongodb://{LISTEN}:{self.ports['direct']}/?replicaSet=bench",
                "--listen", f"{LISTEN}:{self.ports['holdfast']}", "--admin", "off", "--set", "connections.default.auth=trust",
                "--set", f"connections.default.max_clients={self.clients_max + 20}"]
