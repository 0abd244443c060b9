"""Rows 7 to 10: transactions that a loss interrupts, from their first statement to their COMMIT or ROLLBACK."""

import psycopg
import pytest

from expectations import (FAILED, FAULTS, LOST, UNKNOWN, assert_alive, assert_failed_until_rollback, assert_lost,
                          inflict)
from support import wire


@pytest.fixture
def proxy(server, start_holdfast):
    """Nothing that is lost is run again: what is, test_replay.py shows."""
    return start_holdfast(server, connection={"replay": "off"})


def begin(client):
    """An open transaction that has written the id 1; the pid of its backend."""
    assert client.query("BEGIN").status == "T"
    assert client.query("INSERT INTO ids VALUES (1)").tags == ["INSERT 0 1"]
    return int(client.value("SELECT pg_backend_pid()"))


@pytest.mark.versions
@pytest.mark.parametrize("ending", ("ROLLBACK", "COMMIT"))
@pytest.mark.parametrize("fault", FAULTS)
def test_an_idle_transaction_is_lost_with_40001_and_failed_until_it_ends(server, proxy, fault, ending):
    client = proxy.wire()
    inflict(server, fault, begin(client))
    reply = client.query("INSERT INTO ids VALUES (2)", deadline=20)
    assert_lost(reply, LOST, "E")
    assert_failed_until_rollback(client, ending)
    assert server.query("SELECT count(*) FROM ids") == [(0,)]


def test_the_extended_protocol_sees_a_lost_transaction_as_the_simple_one_does(server, proxy):
    client = proxy.wire()
    begin(client)
    server.restart("kill9")
    assert_lost(client.run(wire.extended("SELECT 1")), LOST, "E")
    reply = client.run(wire.extended("SELECT 1"))
    assert reply.error.code == FAILED and reply.status == "E", reply
    reply = client.run(wire.extended("ROLLBACK"))
    assert not reply.errors and reply.tags == ["ROLLBACK"] and reply.status == "I", reply
    assert_alive(client)


@pytest.mark.versions
@pytest.mark.parametrize("fault", FAULTS)
def test_a_transactions_statement_under_way_is_lost_with_40001(server, proxy, fault):
    client = proxy.wire()
    with server.block():
        begin(client)
        client.send(wire.query("UPDATE blocked SET id = 2"))
        inflict(server, fault, server.wait_until_waiting("UPDATE blocked"))
    reply = client.reply(deadline=20)
    assert_lost(reply, LOST, "E")
    assert_failed_until_rollback(client)


def test_a_lost_transaction_ends_without_a_server_too(server, proxy):
    client = proxy.wire()
    begin(client)
    server.kill9()
    proxy.wait_for_state("reconnecting")
    assert_lost(client.query("SELECT 1"), LOST, "E")
    reply = client.query("ROLLBACK")
    assert reply.tags == ["ROLLBACK"] and reply.status == "I", reply
    server.start()
    assert_alive(client)


@pytest.mark.parametrize("how", ("frozen", "waits", "done"))
@pytest.mark.versions
def test_a_commit_under_way_is_an_unknown_outcome(server, proxy, how):
    client = proxy.wire()
    pid = begin(client)
    if how == "frozen":
        server.freeze(pid)
        client.send(wire.query("COMMIT"))
        server.wait_until_sent(pid)
        server.restart("kill9_all")
    elif how == "waits":
        with server.block():
            client.query("INSERT INTO slow_to_commit VALUES (1)")
            client.send(wire.query("COMMIT"))
            server.wait_until_waiting("COMMIT")
            server.restart("kill9")
    else:
        with server.commits_wait():
            client.send(wire.query("COMMIT"))
            server.wait_until_waiting("COMMIT", "SyncRep")
            server.restart("kill9_all")
    assert_lost(client.reply(deadline=20), UNKNOWN)
    assert_alive(client)
    assert server.query("SELECT count(*) FROM ids") == [(1 if how == "done" else 0,)]


def test_a_commit_inside_a_pipeline_is_an_unknown_outcome(server, proxy):
    client = proxy.wire()
    begin(client)
    with server.commits_wait():
        client.send(wire.extended("INSERT INTO ids VALUES (2)"), wire.extended("COMMIT"), wire.SYNC)
        server.wait_until_waiting("COMMIT", "SyncRep")
        server.restart("kill9_all")
    reply = client.reply(deadline=20)
    assert reply.error.code == UNKNOWN and reply.status == "I", reply
    assert_alive(client)


def test_a_commit_hidden_in_a_longer_text_is_an_unknown_outcome(server, proxy):
    client = proxy.wire()
    begin(client)
    with server.commits_wait():
        client.send(wire.query("SELECT 1; COMMIT; SELECT 2"))
        server.wait_until_waiting("COMMIT", "SyncRep")
        server.restart("kill9_all")
    reply = client.reply(deadline=20)
    assert reply.errors[-1].code == UNKNOWN and reply.status == "I", reply
    assert_alive(client)


def test_a_commit_that_was_never_sent_is_lost_with_40001_and_the_session_is_idle(server, proxy):
    # A driver that sees a failed transaction after a failed COMMIT closes the connection (pgx does): the server says 'I'.
    client = proxy.wire()
    begin(client)
    server.restart("kill9")
    reply = client.query("COMMIT", deadline=20)
    assert_lost(reply, LOST, "I")
    assert_alive(client)
    assert server.query("SELECT count(*) FROM ids") == [(0,)]


def test_a_rollback_as_the_first_word_after_the_loss_answers_rollback(server, proxy):
    client = proxy.wire()
    begin(client)
    server.restart("kill9")
    reply = client.query("ROLLBACK", deadline=20)
    assert not reply.errors and reply.tags == ["ROLLBACK"] and reply.status == "I", reply
    assert_alive(client)


@pytest.mark.versions
def test_a_rollback_under_way_answers_rollback(server, proxy):
    client = proxy.wire()
    pid = begin(client)
    server.freeze(pid)
    client.send(wire.query("ROLLBACK"))
    server.wait_until_sent(pid)
    server.restart("kill9_all")
    reply = client.reply(deadline=20)
    assert not reply.errors and reply.tags == ["ROLLBACK"] and reply.status == "I", reply
    assert_alive(client)


@pytest.mark.versions
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("ending", ("ROLLBACK", "COMMIT"))
def test_a_failed_transaction_stays_failed_until_rollback(server, proxy, fault, ending):
    client = proxy.wire()
    pid = begin(client)
    assert client.query("SELECT 1/0").status == "E"
    inflict(server, fault, pid)
    assert_failed_until_rollback(client, ending)


def test_rollback_to_a_savepoint_of_a_lost_transaction_is_40001(server, proxy):
    client = proxy.wire()
    begin(client)
    client.query("SAVEPOINT here")
    assert client.query("SELECT 1/0").status == "E"
    server.restart("kill9")
    reply = client.query("ROLLBACK TO here", deadline=20)
    assert_lost(reply, LOST, "E")
    assert_failed_until_rollback(client)


def test_commit_and_chain_is_told_apart_from_the_transaction_before(server, proxy):
    client = proxy.wire()
    begin(client)
    assert client.query("COMMIT AND CHAIN").status == "T"
    client.query("INSERT INTO ids VALUES (2)")
    server.restart("kill9")
    assert_lost(client.query("INSERT INTO ids VALUES (3)", deadline=20), LOST, "E")
    assert_failed_until_rollback(client)
    assert server.query("SELECT id FROM ids") == [(1,)]


def test_psycopg_retries_a_lost_transaction_on_the_same_connection(server, proxy):
    connection = proxy.connect()
    attempts = 0
    while True:
        attempts += 1
        try:
            with connection.transaction():
                connection.execute("INSERT INTO ids VALUES (1)")
                if attempts == 1:
                    server.restart("kill9")
                connection.execute("INSERT INTO ids VALUES (2)")
            break
        except psycopg.errors.SerializationFailure:
            assert not connection.closed
    assert attempts == 2
    assert server.query("SELECT id FROM ids ORDER BY id") == [(1,), (2,)]
