"""Rows 14 and 15: sessions that listen are attached again at once; sessions that hold what no new backend can have are ended."""

import re
import time

import psycopg
import pytest

from expectations import FAULTS, assert_alive, inflict
from support import wire
from support.waiting import wait_for

# What a session can hold, how it comes to hold it, and the word by which the FATAL must name it.
UNRESTORABLE = {
    "temporary_table": (["CREATE TEMPORARY TABLE mine (id int)"], "temporary"),
    "temporary_table_by_select": (["SELECT 1 AS id INTO TEMPORARY mine"], "temporary"),
    "temporary_table_in_pg_temp": (["CREATE TABLE pg_temp.mine (id int)"], "temporary"),
    "temporary_table_of_a_committed_transaction": (["BEGIN", "CREATE TEMP TABLE mine (id int)", "COMMIT"], "temporary"),
    "holdable_cursor": (["BEGIN", "DECLARE held CURSOR WITH HOLD FOR SELECT 1", "COMMIT"], "cursor"),
    "advisory_lock": (["SELECT pg_advisory_lock(42)"], "advisory"),
    "shared_advisory_lock": (["SELECT pg_advisory_lock_shared(42)"], "advisory"),
    "advisory_lock_that_was_tried": (["SELECT pg_try_advisory_lock(42)"], "advisory"),
    "currval": (["SELECT nextval('counter')", "SELECT currval('counter')"], "sequence|currval"),
    "setseed": (["SELECT setseed(0.5)"], "seed|random"),
}

# The same things given back: nothing is lost with the backend.
GIVEN_BACK = {
    "dropped_temporary_table": ["CREATE TEMPORARY TABLE mine (id int)", "DROP TABLE mine"],
    "temporary_table_of_a_rolled_back_transaction": ["BEGIN", "CREATE TEMP TABLE mine (id int)", "ROLLBACK"],
    "temporary_table_dropped_at_commit": ["BEGIN", "CREATE TEMP TABLE mine (id int) ON COMMIT DROP", "COMMIT"],
    "closed_cursor": ["BEGIN", "DECLARE held CURSOR WITH HOLD FOR SELECT 1", "COMMIT", "CLOSE held"],
    "cursor_of_a_transaction": ["BEGIN", "DECLARE c CURSOR FOR SELECT 1", "COMMIT"],
    "advisory_lock_released": ["SELECT pg_advisory_lock(42)", "SELECT pg_advisory_unlock(42)"],
    "advisory_lock_of_a_transaction": ["BEGIN", "SELECT pg_advisory_xact_lock(42)", "COMMIT"],
    "everything_discarded": ["CREATE TEMPORARY TABLE mine (id int)", "SELECT pg_advisory_lock(42)", "DISCARD ALL"],
}


@pytest.fixture(autouse=True)
def counter(server):
    server.query("CREATE SEQUENCE IF NOT EXISTS counter; GRANT ALL ON SEQUENCE counter TO PUBLIC")


@pytest.mark.versions
@pytest.mark.parametrize("name", UNRESTORABLE)
def test_a_session_that_holds_what_no_new_backend_can_have_is_ended_and_told_why(server, proxy, name):
    statements, word = UNRESTORABLE[name]
    client = proxy.wire()
    for statement in statements:
        assert not client.query(statement).errors
    server.restart("kill9_all")
    client.try_send(wire.query("SELECT 1"))
    reply = client.rest(deadline=20)
    error = reply.error
    assert (error.severity, error.code) == ("FATAL", "57P01"), reply
    assert "terminating connection" in error.text and re.search(word, error.everything, re.IGNORECASE), error.everything
    assert not reply.rows
    assert proxy.metric("holdfast_client_disconnections_total") >= 1


@pytest.mark.parametrize("name", UNRESTORABLE)
def test_with_lost_state_error_the_session_gets_one_error_and_lives(server, start_holdfast, name):
    proxy = start_holdfast(server, connection={"lost_state": "error"})
    client = proxy.wire()
    for statement in UNRESTORABLE[name][0]:
        client.query(statement)
    server.restart("kill9_all")
    reply = client.query("SELECT 1", deadline=20)
    assert reply.error.severity == "ERROR" and reply.status == "I" and not reply.closed, reply
    assert reply.error.code not in ("08P01", "58000", "XX000")
    assert_alive(client)
    assert_alive(client)


@pytest.mark.parametrize("how", ("cancel", "hold_timeout"))
def test_with_lost_state_error_the_loss_is_told_though_the_wait_for_the_session_ends_otherwise(server, start_holdfast, how):
    hold_timeout = "1s" if how == "hold_timeout" else "30s"
    proxy = start_holdfast(server, connection={"lost_state": "error", "reconnect": {"hold_timeout": hold_timeout}})
    client = proxy.wire()
    for statement in "PREPARE p AS SELECT * FROM blocked", "DO $$BEGIN NULL; END$$":
        assert not client.query(statement).errors
    snapshot = "SELECT 1 FROM pg_stat_activity WHERE usename = 'app' AND state = 'idle' AND query LIKE 'SELECT ''setting''::%'"
    wait_for(lambda: server.query(snapshot), 10, "a snapshot: another one is not taken for a second")
    assert not client.query("DO $$BEGIN CREATE TEMP TABLE mine (id int); END$$").errors
    server.restart("kill9_all")
    proxy.wait_for_state("connected")
    with server.block():
        client.send(wire.query("SELECT 1"))
        server.wait_until_waiting("PREPARE p")  # the session is being restored
        if how == "cancel":
            client.cancel()
        reply = client.reply(deadline=20)
    assert (reply.error.severity, reply.error.code, reply.status) == ("ERROR", "57P01", "I"), reply
    assert_alive(client)
    assert_alive(client)


def test_a_session_that_never_asked_for_currval_lives_and_is_told_the_truth_when_it_does(server, proxy):
    """Most programs call nextval and never currval: they lose nothing. The server's own error tells those that do."""
    client = proxy.wire()
    assert not client.query("SELECT nextval('counter')").errors
    server.restart("kill9_all")
    assert_alive(client)
    assert client.query("SELECT currval('counter')").error.code == "55000"
    assert_alive(client)


@pytest.mark.parametrize("name", GIVEN_BACK)
def test_a_session_that_gave_back_what_it_held_survives(server, proxy, name):
    client = proxy.wire()
    for statement in GIVEN_BACK[name]:
        assert not client.query(statement).errors
    server.restart("kill9_all")
    assert_alive(client)


TABLE_OF_ITS_TRANSACTION = {
    "columns": "CREATE TEMP TABLE mine (id int) ON COMMIT DROP",
    "query": "CREATE TEMP TABLE mine ON COMMIT DROP AS SELECT 1 AS id WHERE false",
    "like": "CREATE TEMPORARY TABLE mine (LIKE ids INCLUDING ALL) ON /* at its end */ COMMIT DROP",
}


@pytest.mark.versions
@pytest.mark.parametrize("sql", TABLE_OF_ITS_TRANSACTION.values(), ids=TABLE_OF_ITS_TRANSACTION)
def test_a_transaction_goes_on_with_the_temporary_table_that_ends_with_it(server, proxy, sql):
    client = proxy.wire()
    for statement in "BEGIN", sql, "INSERT INTO mine VALUES (1)":
        assert not client.query(statement).errors
    server.restart("kill9_all")
    assert client.query("INSERT INTO ids SELECT id FROM mine", deadline=20).tags == ["INSERT 0 1"]
    assert client.query("COMMIT").status == "I"
    assert server.query("SELECT id FROM ids") == [(1,)]
    server.restart("kill9_all")
    assert_alive(client)


def test_without_replay_the_transaction_is_lost_with_its_table_and_the_session_lives(server, start_holdfast):
    client = start_holdfast(server, connection={"replay": "off"}).wire()
    for statement in "BEGIN", TABLE_OF_ITS_TRANSACTION["columns"]:
        assert not client.query(statement).errors
    server.restart("kill9_all")
    assert client.query("SELECT 1", deadline=20).error.code == "40001"
    assert client.query("ROLLBACK").status == "I"
    assert_alive(client)


def test_psycopg_is_told_why_its_session_ended(server, proxy):
    connection = proxy.connect()
    connection.execute("CREATE TEMPORARY TABLE mine (id int)")
    server.restart("kill9_all")
    with pytest.raises(psycopg.OperationalError) as caught:
        connection.execute("SELECT 1")
    assert "terminating connection" in str(caught.value)
    assert connection.closed


def notified(server, client, channel, deadline=15.0):
    """Notifies until the client hears of it without having spoken; the number it heard."""
    end = time.monotonic() + deadline
    number = 0
    while time.monotonic() < end:
        number += 1
        server.query("SELECT pg_notify(%s, %s)", (channel, str(number)))
        try:
            reply = client.receive_until("A", deadline=0.3)
        except AssertionError:
            continue
        assert not reply.closed, reply
        heard = reply.messages[-1][1][4:].split(b"\0")[:2]
        if heard[0] == channel.encode():  # else it is another channel's, which came late
            return heard
    raise AssertionError("the listening session heard nothing")


@pytest.mark.versions
@pytest.mark.parametrize("fault", FAULTS)
def test_a_listening_session_listens_again_without_a_word(server, proxy, fault):
    client = proxy.wire()
    client.query("LISTEN orders")
    client.query('LISTEN "Mixed Case"')
    inflict(server, fault, int(client.value("SELECT pg_backend_pid()")))
    assert notified(server, client, "orders")[0] == b"orders"
    assert notified(server, client, "Mixed Case")[0] == b"Mixed Case"
    assert proxy.metric("holdfast_notification_gaps_total") >= 1
    assert_alive(client)


def test_a_listening_session_is_warned_of_the_gap(server, proxy):
    client = proxy.wire()
    client.query("LISTEN orders")
    server.restart("kill9")
    reply = client.receive_until("N", deadline=15)
    notice = reply.notices[-1]
    assert notice.severity == "WARNING" and "notif" in notice.everything.lower(), notice.everything
    assert notified(server, client, "orders")[0] == b"orders"


def test_a_listening_session_hears_again_though_its_server_was_gone_for_longer_than_anybody_waits(server, start_holdfast):
    proxy = start_holdfast(server, connection={"reconnect": {"hold_timeout": "300ms"}})
    client = proxy.wire()
    client.query("LISTEN orders")
    client.query("BEGIN")  # lost with the server: that it ends is nothing that another backend has to know
    client.query("INSERT INTO ids VALUES (1)")
    server.end("kill9")
    wait_for(lambda: "is not run again" in proxy.log(), 10, "the transaction is given up")
    assert client.query("ROLLBACK").tags == ["ROLLBACK"]
    server.start()
    assert notified(server, client, "orders")[0] == b"orders"
    assert_alive(client)


def test_a_session_that_no_longer_listens_is_not_attached_again(server, proxy):
    client = proxy.wire()
    client.query("LISTEN orders")
    client.query("LISTEN others")
    client.query("UNLISTEN *")
    server.restart("kill9")
    proxy.wait_for_state("connected")
    assert client.value("SELECT count(*) FROM pg_listening_channels()") == "0"


def test_a_listen_that_was_rolled_back_is_not_restored(server, proxy):
    client = proxy.wire()
    client.query("LISTEN orders")
    for statement in ("BEGIN", "LISTEN others", "UNLISTEN orders", "ROLLBACK"):
        client.query(statement)
    server.restart("kill9")
    question = "SELECT string_agg(c, ',') FROM pg_listening_channels() AS c"
    assert client.value(question) == "orders"


def test_a_session_knows_its_own_notifications_after_a_death(server, proxy):
    client = proxy.wire()
    first = client.pid
    client.query("LISTEN orders")
    server.restart("kill9")
    client.value("SELECT 1")
    reply = client.query("NOTIFY orders, 'mine'")
    body = dict(reply.messages).get("A") or dict([client.receive()])["A"]
    assert int.from_bytes(body[:4], "big") == first


def test_psycopg_hears_notifications_through_a_death(server, proxy):
    connection = proxy.connect()
    connection.execute("LISTEN orders")
    server.restart("kill9")

    def heard():
        server.query("NOTIFY orders, 'again'")
        return [one.payload for one in connection.notifies(timeout=0.3, stop_after=1)]
    assert wait_for(heard, 15)[0] == "again"
