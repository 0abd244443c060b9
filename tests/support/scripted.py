"""A server played from a script: says what a test tells it, to show the proxy what a real server says rarely or never."""

import socket
import struct
import threading

from support.waiting import free_port
from support.wire import message, text


def error(code, words, severity="FATAL"):
    """An ErrorResponse."""
    fields = b"".join(letter.encode() + text(value) for letter, value in
                      (("S", severity), ("V", severity), ("C", code), ("M", words)))
    return message("E", fields, b"\0")


def hello(version="15.0", parameters=None):
    """What a server says to a startup packet where it asks for no password, up to ReadyForQuery."""
    words = {"server_version": version, "server_encoding": "UTF8", "client_encoding": "UTF8", "DateStyle": "ISO, MDY",
             "integer_datetimes": "on", "standard_conforming_strings": "on", "TimeZone": "UTC", "IntervalStyle": "postgres",
             "is_superuser": "off", "session_authorization": "app", "application_name": "", "in_hot_standby": "off",
             "default_transaction_read_only": "off", **(parameters or {})}
    return (message("R", struct.pack("!I", 0)) + b"".join(message("S", text(k), text(v)) for k, v in words.items())
            + message("K", struct.pack("!II", 4242, 7)) + READY)


READY = message("Z", b"I")
ROW = (message("T", struct.pack("!H", 1), text("one"), struct.pack("!IHIhih", 0, 0, 23, 4, -1, 0))
       + message("D", struct.pack("!Hi", 1, 1), b"1") + message("C", text("SELECT 1")))


class ScriptedServer:
    """Runs `script(peer)` in a thread for each connection; a peer has `read_startup`, `read`, `send`, `drop`."""

    def __init__(self, script):
        self.script = script
        self.port = free_port()
        self.accepted = 0
        self.problems = []
        self._closing = False
        self._sockets = []
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self.port))
        self._listener.listen(100)
        threading.Thread(target=self._accept, daemon=True).start()

    def uri(self):
        return f"postgres://app@127.0.0.1:{self.port}/app?sslmode=disable"

    def _accept(self):
        while not self._closing:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._sockets.append(connection)
            threading.Thread(target=self._serve, args=(connection, self.accepted), daemon=True).start()

    def _serve(self, connection, number):
        try:
            self.script(Peer(connection, number))
        except (OSError, EOFError):
            pass  # The proxy hung up; tests look at what it does, not at this.
        except Exception as problem:  # pylint: disable=broad-except
            self.problems.append(problem)
        finally:
            connection.close()

    def close(self):
        self._closing = True
        for one in [self._listener] + self._sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()


class Peer:
    """One connection of a scripted server; `number` counts from 1."""

    def __init__(self, connection, number):
        self.connection = connection
        self.number = number

    def _exactly(self, size):
        data = b""
        while len(data) < size:
            more = self.connection.recv(size - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def read_startup(self):
        """The startup packet's body; refuses TLS and GSS on the way. A CancelRequest or a bare probe ends the script."""
        while True:
            size, = struct.unpack("!I", self._exactly(4))
            body = self._exactly(size - 4)
            code, = struct.unpack_from("!I", body)
            if code in (80877103, 80877104):
                self.send(b"N")
                continue
            if code == 80877102:
                raise EOFError
            return body

    def read(self):
        """The next message as (letter, body)."""
        kind = self._exactly(1).decode("latin-1")
        size, = struct.unpack("!I", self._exactly(4))
        return kind, self._exactly(size - 4)

    def send(self, *parts):
        self.connection.sendall(b"".join(parts))

    def drop(self):
        """Hangs up at once."""
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_in(self, **more):
        self.read_startup()
        self.send(hello(**more))

    def serve(self, answer=None):
        """Answers every Query and every Sync until the proxy leaves; `answer(kind, body)` may return bytes of its own."""
        while True:
            kind, body = self.read()
            own = answer(kind, body) if answer else None
            if own is not None:
                self.send(own)
            elif kind == "Q":
                self.send(ROW, READY)
            elif kind == "P":
                self.send(message("1"))
            elif kind == "B":
                self.send(message("2"))
            elif kind == "D":
                self.send(ROW[:ROW.index(b"D\0\0")])
            elif kind == "E":
                self.send(ROW[ROW.index(b"D\0\0"):])
            elif kind == "C":
                self.send(message("3"))
            elif kind == "S":
                self.send(READY)
            elif kind == "X":
                return

    def wait_for_end(self):
        """Says nothing and returns when the proxy hangs up."""
        while self.connection.recv(65536):
            pass
