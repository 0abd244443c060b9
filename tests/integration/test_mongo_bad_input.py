"""What a MongoDB client may send that is wrong: it is answered or closed as a server would, and nobody else notices."""

import socket
import struct

import bson
import pytest
from pymongo import MongoClient

from support.mongo import ModelSet


@pytest.fixture(scope="module")
def model():
    with ModelSet("--members", 1) as one:
        yield one


@pytest.fixture(scope="module")
def model_with_user():
    with ModelSet("--members", 1, "--user", "admin:root:secret:root") as one:
        yield one


@pytest.fixture
def proxy(model, start_holdfast):
    proxy = start_holdfast(model.uri(), connection={"type": "mongodb"})
    witness = MongoClient("127.0.0.1", proxy.port)
    proxy.clients.append(witness)
    assert witness.admin.command("ping")["ok"] == 1
    yield proxy
    assert witness.admin.command("ping")["ok"] == 1
    assert proxy.is_running


def body(**fields):
    return bson.encode({**fields, "$db": "admin"})


def message(sections, flags=0, opcode=2013, length=None):
    content = struct.pack("<I", flags) + sections
    return struct.pack("<iiii", len(content) + 16 if length is None else length, 7, 0, opcode) + content


def exchange(proxy, data):
    """The body of the reply to `data`, or None where the connection is closed."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as client:
        client.sendall(data)
        return read_reply(client)


def read_reply(client):
    received = b""
    while len(received) < 16 or len(received) < struct.unpack("<i", received[:4])[0]:
        try:
            more = client.recv(65536)
        except ConnectionResetError:
            return None
        if not more:
            return None
        received += more
    opcode = struct.unpack("<i", received[12:16])[0]
    return bson.decode(received[36:] if opcode == 1 else received[21:])


@pytest.mark.parametrize("data", [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00" + bytes(16),
    message(b"\0" + body(ping=1), length=0),
    message(b"\0" + body(ping=1), length=15),
    message(b"\0" + body(ping=1), length=2**31 - 1),
    message(b"\0" + body(ping=1), length=-(2**31)),
    message(b"\0" + body(ping=1), length=48_000_001),
    message(b"\0" + body(ping=1), opcode=2012),
    message(b"\0" + body(ping=1), opcode=2002),
    message(b"\0" + body(ping=1), opcode=1),
    message(b"\0" + body(ping=1), flags=4),
    message(b"\0" + body(ping=1) + b"sum!", flags=1),
], ids=["http", "tls", "0", "15", "2^31-1", "-2^31", "over the limit", "compressed", "legacy insert", "a reply", "unknown flag", "wrong checksum"])
def test_what_is_no_message_is_closed_without_an_answer(proxy, data):
    assert exchange(proxy, data) is None


@pytest.mark.parametrize("sections,code", [
    (b"", 40587),
    (b"\0" + body(ping=1) + b"\0" + body(ping=1), 40430),
    (b"\0" + body(ping=1) + b"\2", 40432),
    (b"\0" + body(ping=1)[:-3], 15),
    (b"\0" + struct.pack("<i", 4), 22),
], ids=["no body", "two bodies", "unknown section", "body cut", "body of four bytes"])
def test_mistakes_of_sections_are_answered(proxy, sections, code):
    assert exchange(proxy, message(sections))["code"] == code


def document(fields):
    return struct.pack("<i", len(fields) + 5) + fields + b"\0"


def of_nulls(size, **command):
    """A body of this size, whose fields are a command's and as many nulls as fit."""
    fields = bson.encode({**command, "$db": "admin"})[4:-1]
    return document(fields + b"\x0a\0" * ((size - len(fields) - 5) // 2))


def memory_peak(proxy):
    """In MB."""
    status = open(f"/proc/{proxy.process.pid}/status").read()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


BODY_MAX = (16 * 1024 + 16) * 1024
MESSAGE_MAX = 48_000_000
HEADER = 16 + 4
TAGS = document(b"\x02mode\0\x08\0\0\0nearest\0" + b"\x04tags\0" + document(b"\x030\0" + document(b"\x02\0\1\0\0\0\0" * 2_000_000)))


@pytest.mark.parametrize("sections,code", [
    (b"\0" + of_nulls(MESSAGE_MAX - HEADER - 1, ping=1), 10334),
    (b"\0" + of_nulls(BODY_MAX + 2, ping=1), 10334),
    (b"\0" + of_nulls(BODY_MAX, hello=1), 9),
    (b"\0" + of_nulls(BODY_MAX, saslStart=1), 9),
    (b"\0" + body(ping=1) + b"".join(b"\1\x09\0\0\0" + f"{i:04x}".encode() + b"\0" for i in range(65_000)) * 70, 15),
    (b"\0" + document(b"\x02find\0\2\0\0\0c\0" + b"\x03$readPreference\0" + TAGS + b"\x02$db\0\5\0\0\0test\0"), 13),
], ids=["48 MB", "over 16 MiB", "hello", "login", "sequences", "tags"])
def test_what_a_stranger_says_takes_no_more_memory_than_its_message(model_with_user, start_holdfast, sections, code):
    proxy = start_holdfast(model_with_user.uri().replace("://", "://root:secret@"), connection={"type": "mongodb", "auth": "scram"})
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as client:
        client.sendall(message(b"\0" + body(hello=1)))
        assert read_reply(client)["ok"] == 1
        before = memory_peak(proxy)
        client.sendall(message(sections))
        assert read_reply(client)["code"] == code
        assert memory_peak(proxy) < before + len(sections) / 1e6 + 20
        client.sendall(message(b"\0" + body(ping=1)))
        assert read_reply(client)["ok"] == 1


def test_a_command_with_more_fields_than_are_read_is_the_servers_to_judge(proxy):
    assert exchange(proxy, message(b"\0" + body(ping=1, **{f"n{i}": None for i in range(2_000)})))["ok"] == 1
    assert exchange(proxy, message(b"\0" + body(find="c", **{f"n{i}": None for i in range(2_000)})))["ok"] in (0, 1)


def test_a_command_that_nests_deep_or_repeats_a_key_is_the_servers_to_judge(proxy):
    nested = {}
    for _ in range(90):
        nested = {"a": nested}
    assert exchange(proxy, message(b"\0" + body(ping=1, comment=nested)))["ok"] == 1
    twice = bytearray(body(ping=1, pinG=1).replace(b"pinG", b"ping"))
    assert "ok" in exchange(proxy, message(b"\0" + bytes(twice)))


def test_a_query_that_is_no_hello_is_refused_and_a_hello_answered_in_its_opcode(proxy):
    def query(document):
        content = struct.pack("<i", 4) + b"admin.$cmd\0" + struct.pack("<ii", 0, -1) + bson.encode(document)
        return struct.pack("<iiii", len(content) + 16, 9, 0, 2004) + content

    assert exchange(proxy, query({"isMaster": 1, "helloOk": True}))["msg"] == "isdbgrid"
    assert exchange(proxy, query({"insert": "c"}))["code"] == 352


def test_metadata_twice_is_refused_and_the_connection_lives(proxy):
    hello = message(b"\0" + body(hello=1, client={"driver": {"name": "x", "version": "1"}, "os": {"type": "y"}}))
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as client:
        for expected in (None, 186, 186):
            client.sendall(hello)
            assert read_reply(client).get("code") == expected
        client.sendall(message(b"\0" + body(ping=1)))
        assert read_reply(client)["ok"] == 1


def test_logins_and_what_is_untrue_behind_a_pool_are_refused_accurately(proxy):
    assert exchange(proxy, message(b"\0" + body(saslStart=1, mechanism="SCRAM-SHA-256", payload=b"n,,n=a,r=b")))["code"] == 334
    assert exchange(proxy, message(b"\0" + body(getLastError=1)))["code"] == 59
    assert exchange(proxy, message(b"\0" + body(whatsmyuri=1)))["you"].startswith("127.0.0.1:")


def test_requests_sent_at_once_are_answered_in_order(proxy):
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as client:
        one = message(b"\0" + body(ping=1))
        client.sendall(one + one + message(b"\0" + body(getLastError=1)))
        received = b""
        while received.count(b"getLastError") == 0:
            more = client.recv(65536)
            assert more
            received += more
        first = struct.unpack("<i", received[:4])[0]
        assert bson.decode(received[21:first])["ok"] == 1


def test_a_document_of_sixteen_megabytes_goes_through_and_back(proxy):
    with MongoClient("127.0.0.1", proxy.port) as client:
        client.test.big.insert_one({"_id": 1, "data": b"x" * (16 * 1024 * 1024 - 100)})
        assert len(client.test.big.find_one({"_id": 1})["data"]) == 16 * 1024 * 1024 - 100
