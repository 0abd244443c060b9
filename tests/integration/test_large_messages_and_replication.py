"""Rows 18 and 19: messages larger than message_buffer that a loss cuts in two, and replication connections."""

import errno
import pathlib
import signal
import socket

import psycopg
import pytest

from expectations import assert_alive
from support import wire
from support.relay import Relay
from support.waiting import wait_for


@pytest.fixture
def relay(server):
    relay = Relay(server.port)
    yield relay
    relay.close()


@pytest.mark.fault_free
@pytest.mark.parametrize("size", (65_536 - 64, 65_536 - 10, 65_536, 65_537, 1_000_000, 50_000_000))
def test_a_message_of_any_size_passes_whole(server, proxy, size):
    connection = proxy.connect()
    row = connection.execute("SELECT repeat('x', %s), md5(repeat('x', %s))", (size, size)).fetchone()
    assert len(row[0]) == size
    sent = "y" * size
    assert connection.execute("SELECT length(%s::text)", (sent,)).fetchone() == (size,)


def test_a_large_message_that_is_cut_ends_the_connection_or_is_completed_never_torn(server, relay, start_holdfast):
    proxy = start_holdfast(f"postgres://app@127.0.0.1:{relay.port}/app?sslmode=disable")
    client = proxy.wire()
    client.value("SELECT 1")
    relay.cut_after(3_000_000)
    client.send(wire.query("SELECT repeat('x', 10000000)"))
    reply = client.reply(deadline=30)
    if reply.closed:
        # What came of the row was an unfinished message: the client can tell.
        assert not reply.rows, reply
    else:
        assert len(reply.rows[0][0]) == 10_000_000
    assert_alive(proxy.wire())


def test_a_login_that_is_refused_puts_nothing_into_a_message_that_the_client_holds_a_part_of(server, relay, start_holdfast):
    proxy = start_holdfast(f"postgres://app@127.0.0.1:{relay.port}/app?sslmode=disable")
    client = proxy.wire()
    relay.cut_after(300_000 - 40)
    server.query("ALTER ROLE app NOLOGIN")
    try:
        client.send(wire.query("SELECT repeat('x', 300000)"))
        rows = client.rest(deadline=20).rows
        assert all(set(value) == {"x"} for value, in rows), [value[-200:] for value, in rows]
    finally:
        server.query("ALTER ROLE app LOGIN")


def test_a_large_message_that_is_cut_is_an_error_for_psycopg_and_not_a_hang(server, relay, start_holdfast):
    proxy = start_holdfast(f"postgres://app@127.0.0.1:{relay.port}/app?sslmode=disable")
    connection = proxy.connect()
    relay.cut_after(2_000_000)
    try:
        row = connection.execute("SELECT repeat('x', 10000000)").fetchone()
        assert len(row[0]) == 10_000_000
    except psycopg.OperationalError:
        assert connection.closed


def test_memory_stays_bounded_while_large_results_pass_to_a_slow_client(server, proxy):
    client = proxy.wire()
    client.send(wire.query("SELECT repeat('x', 1000000) FROM generate_series(1, 300)"))
    client.receive_until("D")

    def resident():
        status = pathlib.Path(f"/proc/{proxy.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) // 1024
    assert resident() < 150, "MiB while 300 MB wait for a client that does not read"
    reply = client.reply(deadline=40)
    assert reply.tags == ["SELECT 300"]


def replication(proxy):
    return psycopg.connect(proxy.dsn(user="postgres", replication="database"), autocommit=True,
                           cursor_factory=psycopg.ClientCursor)


@pytest.mark.fault_free
@pytest.mark.versions
def test_a_replication_connection_is_forwarded(server, proxy):
    with replication(proxy) as connection:
        system, timeline, _, database = connection.execute("IDENTIFY_SYSTEM").fetchone()
        assert str(system) == str(server.query("SELECT system_identifier FROM pg_control_system()")[0][0])
        assert (int(timeline), database) == (1, "app")


def test_a_replication_connection_ends_with_its_server(server, proxy):
    connection = replication(proxy)
    connection.execute("IDENTIFY_SYSTEM")
    server.restart("kill9_all")
    with pytest.raises(psycopg.OperationalError):
        connection.execute("IDENTIFY_SYSTEM")
    assert connection.closed
    assert_alive(proxy.wire())


def is_refused(port):
    with socket.socket() as knock:
        return knock.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


def test_the_end_of_a_drain_completes_no_message_of_a_replication_connection(server, start_holdfast):
    proxy = start_holdfast(server, top={"drain_timeout": "0s"})
    client = proxy.wire(user="postgres", replication="database")
    server.query("SELECT pg_create_logical_replication_slot('drained', 'test_decoding')")
    try:
        server.query("INSERT INTO ids VALUES (1, repeat('x', 50000000))")
        client.send(wire.query("START_REPLICATION SLOT drained LOGICAL 0/0"))
        assert not client.receive_until("W").closed
        # The row is more than the sockets hold: holdfast waits in the middle of it for a client that does not read.
        client.socket.settimeout(10)
        torn = b""
        while len(torn) < 1_000_000:
            torn += client.socket.recv(1_000_000 - len(torn))
        proxy.process.send_signal(signal.SIGTERM)
        wait_for(lambda: is_refused(proxy.port), 5, "the drain is over")
        while piece := client.socket.recv(1_000_000):
            torn += piece
        assert b"x" * 500_000 in torn and torn.endswith(b"x"), (len(torn), torn[-300:])
        assert proxy.process.wait(timeout=5) == 0
    finally:
        client.close()
        wait_for(lambda: not server.query("SELECT 1 FROM pg_replication_slots WHERE active"), 10, "the slot is free")
        server.query("SELECT pg_drop_replication_slot('drained')")
