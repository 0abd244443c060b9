"""Clients that send garbage, stop half way, or are too many: each ends alone, with a clear word, and the others do not notice."""

import pathlib
import random
import socket
import struct

import psycopg
import pytest

from expectations import assert_alive
from support import wire
from support.waiting import wait_for

STARTUPS = {
    "garbage": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "zeroes": bytes(64),
    "length_0": struct.pack("!II", 0, 0x30000),
    "length_3": struct.pack("!II", 3, 0x30000),
    "length_7": struct.pack("!II", 7, 0x30000),
    "length_2_to_the_31": struct.pack("!II", 2**31, 0x30000),
    "length_all_ones": struct.pack("!II", 2**32 - 1, 0x30000),
    "past_the_limit": struct.pack("!II", 10_001 + 8, 0x30000) + bytes(10_001),
    "a_megabyte": struct.pack("!II", 2**20, 0x30000) + b"x" * (2**20 - 8),
    "protocol_2": struct.pack("!II", 8, 0x20000),
    "protocol_99": struct.pack("!II", 9, 99 << 16) + b"\0",
    "no_terminator": struct.pack("!II", 13, 0x30000) + b"user\0",
    "no_user": struct.pack("!II", 9, 0x30000) + b"\0",
    "short_cancel": struct.pack("!II", 8, 80877102),
    "tls_garbage": struct.pack("!II", 8, 80877103) + b"\x16\x03\x01garbage",
}

MESSAGES = {
    "length_0": b"Q\0\0\0\0",
    "length_3": b"Q\0\0\0\3",
    "length_2_to_the_31": b"Q\x80\0\0\0",
    "length_all_ones": b"Q\xff\xff\xff\xff",
    "unknown_letter": b"!\0\0\0\4",
    "a_startup_packet_again": wire.startup(),
    "query_without_terminator": wire.message("Q", b"SELECT 1"),
    "empty_query_message": wire.message("Q"),
    "parse_cut_short": wire.message("P", b"name"),
    "bind_with_a_wrong_count": wire.message("B", b"\0\0", struct.pack("!HHH", 0, 0x7fff, 0)),
    "copy_data_outside_copy": wire.copy_data(b"x"),
    "password_after_login": wire.message("p", b"secret\0"),
    "zeroes": bytes(50),
}


@pytest.fixture
def witness(proxy):
    """A session that must not notice anything."""
    client = proxy.wire()
    yield client
    assert_alive(client)
    assert proxy.is_running


def ends(client, deadline=15):
    """The connection ends; what was said before that."""
    return client.rest(deadline)


@pytest.mark.parametrize("name", STARTUPS)
def test_a_bad_startup_packet_ends_that_connection_only(server, proxy, witness, name):
    client = proxy.wire(login=False)
    client.try_send(STARTUPS[name])
    client.socket.shutdown(socket.SHUT_WR)
    reply = ends(client)
    if reply.errors:
        assert reply.errors[-1].severity == "FATAL", reply


@pytest.mark.parametrize("name", MESSAGES)
def test_a_bad_message_ends_that_session_at_most_and_no_other(server, proxy, witness, name):
    client = proxy.wire()
    client.try_send(MESSAGES[name], wire.SYNC)
    client.try_send(wire.TERMINATE)
    client.socket.shutdown(socket.SHUT_WR)
    reply = ends(client)
    assert name in ("copy_data_outside_copy", "bind_with_a_wrong_count", "unknown_letter", "password_after_login", "zeroes",
                    "a_startup_packet_again") or reply.errors, reply


def test_random_bytes_never_end_the_proxy(server, proxy, witness):
    source = random.Random(20_2411)
    for _ in range(150):
        junk = source.randbytes(source.randrange(1, 300))
        client = proxy.wire(login=source.random() < 0.5)
        client.try_send(junk)
        client.socket.close()
    assert_alive(witness)


def test_a_startup_packet_of_one_byte_at_a_time_logs_in(server, proxy):
    client = proxy.wire(login=False)
    client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in wire.startup():
        client.send(bytes([byte]))
    assert client.reply().status == "I"
    for byte in wire.query("SELECT 'slowly'"):
        client.send(bytes([byte]))
    assert client.reply().rows == [("slowly",)]


@pytest.mark.parametrize("start", (b"", b"\0", struct.pack("!II", 80877103, 8)[:3], wire.startup()[:-3]))
def test_half_a_startup_packet_and_then_nothing_is_closed_after_a_time(server, start_holdfast, start):
    proxy = start_holdfast(server, connection={"reconnect": {"connection_timeout": "1s"}})
    client = proxy.wire(login=False)
    client.send(start)
    ends(client, deadline=20)
    assert_alive(proxy.wire())


def test_half_a_message_and_then_a_closed_socket_leaves_nothing_behind(server, proxy, witness):
    for _ in range(20):
        client = proxy.wire()
        client.send(wire.query("SELECT 1")[:-3])
        client.socket.close()
    wait_for(lambda: len(server.backends()) <= 3, 10, "their backends are gone")
    sessions = proxy.state()["sessions"]
    assert sessions["active"] + sessions["idle"] + sessions["waiting"] == 1


def test_a_client_that_vanishes_during_a_statement_leaves_no_session_behind(server, proxy, witness):
    """The statement itself goes on to its end, as it would without a proxy; its backend then ends."""
    client = proxy.wire()
    with server.block():
        client.send(wire.query("SELECT count(*) FROM blocked"))
        pid = server.wait_until_waiting("count(*) FROM blocked")
        client.socket.close()
        wait_for(lambda: proxy.state()["sessions"]["active"] == 0, 10, "the session is gone")
    wait_for(lambda: pid not in server.backends(), 10, "the backend is gone")


@pytest.mark.parametrize("workers", (1, 2))
def test_a_client_past_max_clients_is_told_53300(server, start_holdfast, workers):
    proxy = start_holdfast(server, connection={"max_clients": 3}, top={"workers": workers})
    clients = [proxy.wire() for _ in range(3)]
    fourth = proxy.wire(login=False)
    fourth.send(wire.startup())
    error = ends(fourth).error
    assert (error.severity, error.code) == ("FATAL", "53300")
    clients[0].close()
    wait_for(lambda: proxy.connect().execute("SELECT 1").fetchone() == (1,), 10, "there is room again")
    assert_alive(clients[1])


def test_memory_stays_bounded_under_claims_of_large_messages(server, proxy, witness):
    clients = [proxy.wire() for _ in range(30)]
    for client in clients:
        client.try_send(b"Q" + struct.pack("!I", 2**30 - 1), b"x" * 100_000)
    assert_alive(witness)
    status = pathlib.Path(f"/proc/{proxy.process.pid}/status").read_text()
    assert int(status.partition("VmRSS:")[2].split()[0]) < 150 * 1024, "KiB for 30 claims of 1 GiB each"


def test_connections_that_come_and_go_leave_no_descriptor_behind(server, proxy, witness):
    folder = pathlib.Path(f"/proc/{proxy.process.pid}/fd")
    before = len(list(folder.iterdir()))
    for _ in range(50):
        with psycopg.connect(proxy.dsn()) as connection:
            connection.execute("SELECT 1")
    wait_for(lambda: len(list(folder.iterdir())) <= before + 2, 10, "descriptors are closed")
