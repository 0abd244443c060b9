"""Row 16: a CancelRequest reaches the backend that works for the session now, ends a held statement, or is dropped."""

import select

import psycopg
import pytest

from expectations import CANCELLED, UNKNOWN, assert_alive, assert_lost
from support import wire
from support.holdfast import Background
from support.relay import Relay
from support.waiting import wait_for


def cancelled(client, sql):
    reply = client.reply(deadline=10)
    assert reply.error.code == CANCELLED and reply.status == "I", (sql, reply)


@pytest.mark.fault_free
@pytest.mark.versions
def test_a_cancel_ends_the_statement_under_way(server, proxy):
    client = proxy.wire()
    client.send(wire.query("SELECT pg_sleep(30)"))
    server.wait_until_running("pg_sleep(30)")
    client.cancel()
    cancelled(client, "pg_sleep")
    assert_alive(client)


def test_the_key_of_the_login_cancels_on_the_new_backend(server, proxy):
    client = proxy.wire()
    for how in ("kill9", "fast"):
        server.restart(how)
        assert_alive(client)
        client.send(wire.query("SELECT pg_sleep(30)"))
        server.wait_until_running("pg_sleep(30)")
        client.cancel()
        cancelled(client, how)


@pytest.mark.no_ledger
def test_a_cancel_ends_the_wait_of_a_statement_that_was_lost(server, start_holdfast):
    """Its error waits for a server that cannot be asked about the old backend; a client that does not care gets it now."""
    relay = Relay(server.port)  # goes on accepting: what is behind it is not known to be gone
    client = start_holdfast(f"postgres://app@127.0.0.1:{relay.port}/app?sslmode=disable").wire()
    with server.block():
        client.send(wire.query("INSERT INTO blocked VALUES (1)"))
        server.wait_until_waiting("INSERT INTO blocked")
        server.kill9_all()
    # The loss may still be on its way to the session when the first request comes.
    wait_for(lambda: client.cancel() or select.select([client.socket], [], [], 0.2)[0], 10, "it is answered")
    assert_lost(client.reply(), UNKNOWN)
    server.start()
    assert_alive(client)
    relay.close()


@pytest.mark.no_ledger
def test_a_statement_that_was_lost_is_told_at_once_where_its_server_is_gone(server, proxy):
    client = proxy.wire()
    with server.block():
        client.send(wire.query("INSERT INTO blocked VALUES (1)"))
        server.wait_until_waiting("INSERT INTO blocked")
        server.kill9_all()
    assert_lost(client.reply(deadline=5), UNKNOWN)
    server.start()
    assert_alive(client)


def test_a_cancel_ends_a_statement_that_is_held(server, proxy):
    client = proxy.wire()
    client.query("SET search_path = extra")
    server.kill9()
    client.send(wire.query("SELECT 1"))
    wait_for(lambda: proxy.state()["sessions"]["waiting"] == 1, 10, "the statement is held")
    client.cancel()
    cancelled(client, "held")
    server.start()
    assert client.value("SHOW search_path") == "extra"


@pytest.mark.fault_free
def test_a_cancel_with_nothing_under_way_is_dropped(server, proxy):
    client = proxy.wire()
    assert_alive(client)
    for _ in range(5):
        client.cancel()
        assert_alive(client)


@pytest.mark.fault_free
def test_a_cancel_with_a_wrong_key_does_nothing(server, proxy):
    client, stranger = proxy.wire(), proxy.wire()
    client.send(wire.query("SELECT pg_sleep(3)"))
    server.wait_until_running("pg_sleep(3)")
    stranger.pid, stranger.key = client.pid, bytes(len(client.key))
    stranger.cancel()
    assert not client.reply().errors


@pytest.mark.fault_free
def test_psycopg_cancels_through_the_proxy(server, proxy):
    connection = proxy.connect()
    statement = Background(connection.execute, "SELECT pg_sleep(31)")
    server.wait_until_running("pg_sleep(31)")
    connection.cancel()
    statement.error(psycopg.errors.QueryCanceled)
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_two_sessions_never_share_a_key(server, proxy):
    keys = [(client.pid, client.key) for client in [proxy.wire() for _ in range(20)]]
    assert len(set(keys)) == 20
    assert all(len(key) == 4 for _, key in keys)


def test_a_cancel_meets_only_its_own_session(server, proxy):
    one, two = proxy.wire(), proxy.wire()
    one.send(wire.query("SELECT pg_sleep(30), 'one'"))
    two.send(wire.query("SELECT pg_sleep(3), 'two'"))
    server.wait_until_running("'one'")
    server.wait_until_running("'two'")
    one.cancel()
    cancelled(one, "one")
    assert not two.reply().errors
