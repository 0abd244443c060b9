"""A raw PostgreSQL client over the v3 protocol: says exactly the bytes a test wants and shows exactly what came back.

No authentication but `trust`, no TLS. (PostgreSQL documentation, "Message Formats".)
"""

import socket
import struct
import time


def message(kind, *fields):
    """One frontend or backend message: `kind` is its letter, the fields are its body."""
    body = b"".join(fields)
    return kind.encode() + struct.pack("!I", len(body) + 4) + body


def text(value):
    return value.encode() + b"\0"


def startup(user="app", database="app", protocol=0x30000, **parameters):
    words = dict({"user": user, "database": database}, **parameters)
    body = struct.pack("!I", protocol) + b"".join(text(name) + text(value) for name, value in words.items()) + b"\0"
    return struct.pack("!I", len(body) + 4) + body


def query(sql):
    return message("Q", text(sql))


def parse(sql, name=""):
    return message("P", text(name), text(sql), struct.pack("!H", 0))


def bind(values=(), statement="", portal=""):
    sent = b"".join(struct.pack("!i", len(value)) + value for value in (str(value).encode() for value in values))
    return message("B", text(portal), text(statement), struct.pack("!HH", 0, len(values)), sent, struct.pack("!H", 0))


def execute(portal="", rows=0):
    return message("E", text(portal), struct.pack("!I", rows))


def describe(kind="P", name=""):
    return message("D", kind.encode(), text(name))


SYNC = message("S")
FLUSH = message("H")
TERMINATE = message("X")
COPY_DONE = message("c")


def copy_data(data):
    return message("d", data)


def extended(sql, values=()):
    """Parse, Bind, Describe, Execute of the unnamed statement, without Sync."""
    return parse(sql) + bind(values) + describe() + execute()


class ServerError(Exception):
    """An ErrorResponse or NoticeResponse, by its fields."""

    def __init__(self, body):
        self.fields = {field[:1].decode(): field[1:].decode("utf-8", "replace") for field in body.split(b"\0") if field}
        super().__init__(f"{self.severity} {self.code}: {self.text}")

    severity = property(lambda self: self.fields.get("V") or self.fields.get("S"))
    code = property(lambda self: self.fields.get("C"))
    text = property(lambda self: self.fields.get("M"))
    everything = property(lambda self: " ".join(self.fields.values()))


class Reply:
    """The messages up to ReadyForQuery, or up to the end of the connection (`closed`)."""

    def __init__(self, messages, closed):
        self.messages = messages
        self.closed = closed

    @property
    def kinds(self):
        """The letters in order, without ParameterStatus and notices."""
        return "".join(kind for kind, _ in self.messages if kind not in "SN")

    @property
    def errors(self):
        return [ServerError(body) for kind, body in self.messages if kind == "E"]

    @property
    def notices(self):
        return [ServerError(body) for kind, body in self.messages if kind == "N"]

    @property
    def error(self):
        """The only error; a failure of the test where there is none or more than one."""
        assert len(self.errors) == 1, f"expected one error, got {self!r}"
        return self.errors[0]

    @property
    def status(self):
        """The transaction status of the ReadyForQuery at its end."""
        assert self.messages and self.messages[-1][0] == "Z", f"no ReadyForQuery at the end: {self!r}"
        return self.messages[-1][1].decode()

    @property
    def rows(self):
        return [_row(body) for kind, body in self.messages if kind == "D"]

    @property
    def tags(self):
        return [body.rstrip(b"\0").decode() for kind, body in self.messages if kind == "C"]

    def __repr__(self):
        shown = [(kind, body[:200]) for kind, body in self.messages]
        return f"Reply({shown}{', closed' if self.closed else ''})"


def _row(body):
    count, = struct.unpack_from("!H", body)
    offset, values = 2, []
    for _ in range(count):
        size, = struct.unpack_from("!i", body, offset)
        offset += 4
        if size < 0:
            values.append(None)
        else:
            values.append(body[offset:offset + size].decode())
            offset += size
    return tuple(values)


class WireClient:
    """A client connection. Every wait has a deadline in seconds and fails with what had come until then."""

    def __init__(self, port, host="127.0.0.1", user="app", database="app", login=True, protocol=0x30000, path=None,
                 **parameters):
        if path:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(path)
        else:
            self.socket = socket.create_connection((host, port), timeout=10)
        self._buffer = b""
        self.pid = self.key = self.hello = None
        if login:
            self.send(startup(user, database, protocol, **parameters))
            self.hello = self.reply(deadline=15)
            assert not self.hello.closed and not self.hello.errors, f"login failed: {self.hello!r}"
            for kind, body in self.hello.messages:
                if kind == "K":
                    self.pid, self.key = struct.unpack("!I", body[:4])[0], body[4:]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, *parts):
        self.socket.sendall(b"".join(parts))

    def try_send(self, *parts):
        """Sends, and takes it calmly where the other side has closed already."""
        try:
            self.send(*parts)
        except OSError:
            pass

    def _fill(self, end):
        """Reads some more bytes; False at the end of the connection. TimeoutError past `end`."""
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.socket.settimeout(left)
        try:
            data = self.socket.recv(262144)
        except ConnectionError:
            return False
        self._buffer += data
        return bool(data)

    def receive(self, deadline=10.0):
        """The next message as (letter, body); None at the end of the connection."""
        end = time.monotonic() + deadline
        while True:
            if len(self._buffer) >= 5:
                size, = struct.unpack_from("!I", self._buffer, 1)
                if len(self._buffer) >= size + 1:
                    found = self._buffer[:1].decode("latin-1"), self._buffer[5:size + 1]
                    self._buffer = self._buffer[size + 1:]
                    return found
            if not self._fill(end):
                return None

    def receive_until(self, kind, deadline=10.0):
        """The messages up to and with the first of this kind; at the end of the connection those that came."""
        end, found = time.monotonic() + deadline, []
        while True:
            try:
                one = self.receive(end - time.monotonic())
            except TimeoutError:
                raise AssertionError(f"no {kind!r} within {deadline} s; until then: {Reply(found, False)!r}") from None
            if one is None:
                return Reply(found, True)
            found.append(one)
            if one[0] == kind:
                return Reply(found, False)

    def reply(self, deadline=10.0):
        """What the server says up to ReadyForQuery or the end."""
        return self.receive_until("Z", deadline)

    def query(self, sql, deadline=10.0):
        """One simple Query and its reply."""
        self.send(query(sql))
        return self.reply(deadline)

    def run(self, *parts, deadline=10.0):
        """The given messages, a Sync, and the reply."""
        self.send(*parts, SYNC)
        return self.reply(deadline)

    def value(self, sql):
        """The first field of the first row; a failure where there is an error."""
        reply = self.query(sql)
        assert reply.rows and not reply.errors, f"{sql}: {reply!r}"
        return reply.rows[0][0]

    def rest(self, deadline=10.0):
        """Everything up to the end of the connection; a failure where it stays open."""
        reply = self.receive_until("no such kind", deadline)
        assert reply.closed
        return reply

    def cancel(self, port=None):
        """Sends a CancelRequest for this session on a connection of its own."""
        with socket.create_connection(self.socket.getpeername() if port is None else ("127.0.0.1", port), timeout=5) as other:
            body = struct.pack("!II", 80877102, self.pid) + self.key
            other.sendall(struct.pack("!I", len(body) + 4) + body)
            other.settimeout(5)
            try:
                other.recv(1)
            except OSError:
                pass

    def close(self):
        try:
            self.socket.sendall(TERMINATE)
        except OSError:
            pass
        self.socket.close()
