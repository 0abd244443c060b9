"""A client that sends commands as they are written, over one connection, as no driver does."""

import base64
import hashlib
import hmac
import socket
import struct

import bson


def message(command, flags=0, number=1):
    """The command as an OP_MSG."""
    content = struct.pack("<IB", flags, 0) + bson.encode(command)
    return struct.pack("<iiii", 16 + len(content), number, 0, 2013) + content


class RawClient:
    """`ask` sends one command and returns its answer; a context manager."""

    def __init__(self, port, timeout=40):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self._stream = self.socket.makefile("rb")

    def ask(self, command):
        self.send(command)
        return self.answer()

    def send(self, command, flags=0):
        self.socket.sendall(message(command, flags))

    def answer(self):
        length, *_ = struct.unpack("<iiii", self._stream.read(16))
        return bson.decode(self._stream.read(length - 16)[5:])

    def log_in(self, database, user, password):
        """By SCRAM-SHA-256; the last answer, which may be an error."""
        bare = f"n={user},r=abcdefgh"
        first = self.ask({"saslStart": 1, "mechanism": "SCRAM-SHA-256", "payload": f"n,,{bare}".encode(),
                          "options": {"skipEmptyExchange": True}, "$db": database})
        return first if first["ok"] != 1 else self.prove(first, bare, password, database)

    def prove(self, first, bare, password, database):
        """Answers what the server said to the payload that ended with `bare`: the last answer."""
        said = first["payload"].decode()
        nonce, salt, iterations = (part[2:] for part in said.split(","))
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(iterations))
        key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(key).digest(), f"{bare},{said},c=biws,r={nonce}".encode(), "sha256")
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature))).decode()
        return self.ask({"saslContinue": 1, "conversationId": first["conversationId"], "payload": f"c=biws,r={nonce},p={proof}".encode(),
                         "$db": database})

    def close(self):
        self._stream.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
