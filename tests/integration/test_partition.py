"""A server on a host of its own, behind a network that drops every packet: nothing is closed, nothing answers, then all comes back."""

import time

import psycopg
import pytest

from expectations import LOST, NO_UPSTREAM, UNKNOWN, assert_alive, assert_failed_until_rollback
from support import netns, wire
from support.postgres import PostgresServer

FAST = {"reconnect": {"hang_timeout": "500ms", "connection_timeout": "1s", "hold_timeout": "20s"}}


@pytest.fixture(scope="module")
def far_server():
    """A server in a network namespace."""
    reason = netns.why_not()
    if reason:
        pytest.skip(reason)
    host = netns.Host()
    try:
        server = PostgresServer(host=host)
        server.start()
        server.prepare()
        yield server
        server.close()
    finally:
        host.close()


@pytest.fixture(autouse=True)
def healed(far_server):
    yield
    far_server.host.black_hole(False)
    far_server.query("TRUNCATE ids")


@pytest.mark.fault_free
def test_the_far_server_is_reached(far_server, start_holdfast):
    start_holdfast(far_server).wait_for_state("connected")
    with psycopg.connect(far_server.dsn("app")) as connection:
        assert connection.execute("SELECT host(inet_server_addr())").fetchone() == (far_server.address,)


def test_a_partition_is_noticed_within_three_hang_timeouts_and_the_session_lives(far_server, start_holdfast):
    proxy = start_holdfast(far_server, connection=FAST)
    client = proxy.wire()
    client.query("SET search_path = extra")
    far_server.host.black_hole()
    started = time.monotonic()
    client.send(wire.query("SELECT 'through'"))
    proxy.wait_for_state("reconnecting", "failed")
    assert time.monotonic() - started < 3 * 0.5 + 1.5
    far_server.host.black_hole(False)
    reply = client.reply(deadline=30)
    assert reply.status == "I" and (reply.rows == [("through",)] or reply.error.code in (LOST, UNKNOWN)), reply
    assert client.value("SHOW search_path") == "extra"


def test_an_idle_session_sees_nothing_of_a_partition(far_server, start_holdfast):
    proxy = start_holdfast(far_server, connection={**FAST, "health": {"interval": "300ms", "timeout": "300ms"}})
    client = proxy.wire()
    client.query("SET search_path = extra")
    far_server.host.black_hole()
    proxy.wait_for_state("reconnecting", "failed")
    far_server.host.black_hole(False)
    proxy.wait_for_state("connected", deadline=30)
    assert client.value("SHOW search_path") == "extra"


def test_a_transaction_cut_off_with_its_locks_is_ended_before_the_client_hears_that_it_is_lost(far_server, start_holdfast):
    proxy = start_holdfast(far_server, connection=FAST)
    client = proxy.wire()
    client.query("BEGIN")
    client.query("INSERT INTO ids VALUES (1)")
    client.query("LOCK TABLE blocked IN ACCESS EXCLUSIVE MODE")
    pid = far_server.open_transaction()
    far_server.host.black_hole()
    client.send(wire.query("SELECT 1"))
    proxy.wait_for_state("reconnecting", "failed")
    assert pid in far_server.backends(), "behind the partition it lives on, with its locks"
    far_server.host.black_hole(False)
    reply = client.reply(deadline=30)
    # Run again on a new backend, or the old connection came back to life before it was given up.
    assert reply.rows == [("1",)] and reply.status == "T", reply
    assert client.query("ROLLBACK").status == "I"
    assert far_server.query("SELECT count(*) FROM ids") == [(0,)]


def test_a_login_into_a_partition_is_told_57p03(far_server, start_holdfast):
    proxy = start_holdfast(far_server, connection={"reconnect": {**FAST["reconnect"], "hold_timeout": "2s"}})
    far_server.host.black_hole()
    raw = proxy.wire(login=False)
    started = time.monotonic()
    raw.send(wire.startup())
    error = raw.rest(deadline=15).error
    assert (error.severity, error.code) == ("FATAL", NO_UPSTREAM)
    assert time.monotonic() - started < 6
    far_server.host.black_hole(False)
    assert_alive(proxy.wire())
