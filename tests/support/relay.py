"""A TCP relay between the proxy and a server that can cut, stall or black-hole what passes. It understands no protocol."""

import select
import socket
import struct
import threading
import time

from support.waiting import free_port


class Relay:
    """Listens on a port of its own and forwards each connection to `target_port` of 127.0.0.1.

    Modes are switched from the test's thread and count for all connections: `cut`, `cut_after`, `cut_before`, `black_hole`, `delay`.
    """

    def __init__(self, target_port):
        self.target_port = target_port
        self.port = free_port()
        self._black_hole = threading.Event()
        self._refuse = threading.Event()
        self._stall = threading.Event()
        self._delay = 0.0
        self._budget = {"to_server": None, "to_client": None}
        self._barred = {"to_server": None, "to_client": None}
        self._lock = threading.Lock()
        self._pairs = []
        self.accepted = 0
        self._closing = False
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self.port))
        self._listener.listen(200)
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, reset=False):
        """Closes every connection now, with RST if asked; later ones pass."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for side in pair:
                _close(side, reset)

    def cut_after(self, count, direction="to_client"):
        """Lets `count` more bytes pass in that direction (all connections together), then cuts everything once."""
        with self._lock:
            self._budget[direction] = count

    def cut_before(self, fragment, direction="to_client"):
        """Cuts everything once, in place of passing the next piece in that direction that has these bytes in it."""
        with self._lock:
            self._barred[direction] = fragment

    def black_hole(self, on=True):
        """Takes no more bytes from either side and closes nothing; new connections are accepted and stay silent."""
        (self._black_hole.set if on else self._black_hole.clear)()

    def refuse(self, on=True):
        """New connections are closed at once; those that stand pass."""
        (self._refuse.set if on else self._refuse.clear)()

    def stall_new(self, on=True):
        """New connections are accepted and stay silent; those that stand pass."""
        (self._stall.set if on else self._stall.clear)()

    def delay(self, seconds):
        """Each piece waits so long before it is passed on."""
        self._delay = seconds

    def close(self):
        self._closing = True
        self._black_hole.clear()
        _close(self._listener)
        self.cut()

    def _accept(self):
        while not self._closing:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            if self._refuse.is_set():
                _close(client)
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        while (self._black_hole.is_set() or self._stall.is_set()) and not self._closing:
            time.sleep(0.02)
        try:
            server = socket.create_connection(("127.0.0.1", self.target_port), timeout=5)
            server.settimeout(None)
        except OSError:
            _close(client)
            return
        with self._lock:
            self._pairs.append((client, server))
        try:
            self._pump(client, server)
        except (OSError, ValueError):
            pass  # Cut by the test, or by a peer.
        _close(client)
        _close(server)

    def _pump(self, client, server):
        other = {client: (server, "to_server"), server: (client, "to_client")}
        while not self._closing:
            if self._black_hole.is_set():
                time.sleep(0.02)
                continue
            readable, _, _ = select.select([client, server], [], [], 0.05)
            for side in readable:
                if self._black_hole.is_set():
                    break
                data = side.recv(65536)
                if not data:
                    return
                if self._delay:
                    time.sleep(self._delay)
                target, direction = other[side]
                allowed, last = self._take(direction, data)
                target.sendall(data[:allowed])
                if last:
                    self.cut()
                    return

    def _take(self, direction, data):
        """How many bytes of `data` may pass, and whether the cut comes then."""
        size = len(data)
        with self._lock:
            barred, budget = self._barred[direction], self._budget[direction]
            if barred is not None and barred in data:
                self._barred[direction] = None
                return 0, True
            if budget is None:
                return size, False
            if size < budget:
                self._budget[direction] = budget - size
                return size, False
            self._budget[direction] = None
            return budget, True


def _close(side, reset=False):
    try:
        if reset:
            side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            side.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    try:
        side.close()
    except OSError:
        pass
