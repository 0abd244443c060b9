"""Row 17: PREPARE TRANSACTION, COMMIT PREPARED and ROLLBACK PREPARED whose answer is lost. The new backend is asked what became of them."""

import pytest

from expectations import LOST, UNKNOWN, assert_alive, assert_lost
from support import wire
from support.relay import Relay
from support.waiting import wait_for


def simple(text):
    return [wire.query(text)]


def extended(text):
    return [wire.extended(text), wire.SYNC]


PROTOCOLS = pytest.mark.parametrize("protocol", (simple, extended), ids=("simple", "extended"))
ENDINGS = pytest.mark.parametrize("ending", ("COMMIT PREPARED", "ROLLBACK PREPARED"))


@pytest.fixture(autouse=True)
def nothing_prepared(server):
    """A test leaves nothing behind: the next one could not empty the tables."""
    yield
    if not server.is_running:
        server.start()
    for (gid,) in prepared(server):
        server.query(f"ROLLBACK PREPARED '{gid}'")


def prepared(server):
    return server.query("SELECT gid FROM pg_prepared_xacts ORDER BY gid")


def ids(server):
    return [row[0] for row in server.query("SELECT id FROM ids ORDER BY id")]


def assert_done(reply, *tags, status="I"):
    assert not reply.closed and not reply.errors, reply
    assert reply.tags == list(tags) and reply.status == status, reply


def begin(client):
    """An open transaction that has written the id 1, and waits at its end for whoever holds `blocked`."""
    assert client.query("BEGIN").status == "T"
    assert client.query("INSERT INTO ids VALUES (1)").tags == ["INSERT 0 1"]
    assert client.query("INSERT INTO slow_to_commit VALUES (1)").tags == ["INSERT 0 1"]


def prepare(client):
    begin(client)
    assert_done(client.query("PREPARE TRANSACTION 'transfer'"), "PREPARE TRANSACTION")


def lose_after(server, client, messages, word):
    """What is sent is done, and its answer is lost with the server."""
    with server.commits_wait():
        client.send(*messages)
        server.wait_until_waiting(word, "SyncRep")
        server.restart("kill9_all")


@pytest.fixture
def relay(server):
    relay = Relay(server.port)
    yield relay
    relay.close()


@pytest.fixture
def cuttable(relay, start_holdfast):
    return start_holdfast(f"postgres://app@127.0.0.1:{relay.port}/app?sslmode=disable")


@pytest.mark.versions
@PROTOCOLS
def test_a_prepared_transaction_is_reported_as_prepared(server, proxy, protocol):
    client = proxy.wire()
    begin(client)
    lose_after(server, client, protocol("PREPARE TRANSACTION 'transfer'"), "PREPARE TRANSACTION")
    assert_done(client.reply(deadline=20), "PREPARE TRANSACTION")
    assert prepared(server) == [("transfer",)]
    assert_done(client.query("COMMIT PREPARED 'transfer'"), "COMMIT PREPARED")
    assert ids(server) == [1]


@pytest.mark.versions
@PROTOCOLS
def test_one_that_was_not_prepared_is_run_again_and_prepared(server, proxy, protocol):
    client = proxy.wire()
    begin(client)
    with server.block():
        client.send(*protocol("PREPARE TRANSACTION 'transfer'"))
        server.wait_until_waiting("PREPARE TRANSACTION")
        server.restart("kill9")
    assert_done(client.reply(deadline=20), "PREPARE TRANSACTION")
    assert prepared(server) == [("transfer",)]
    assert_done(client.query("COMMIT PREPARED 'transfer'"), "COMMIT PREPARED")
    assert ids(server) == [1]
    assert proxy.metric("holdfast_commit_outcomes_total", outcome="not_committed") == 1


@pytest.mark.versions
@ENDINGS
@PROTOCOLS
def test_an_end_that_was_made_is_reported_as_made(server, proxy, protocol, ending):
    client = proxy.wire()
    prepare(client)
    lose_after(server, client, protocol(f"{ending} 'transfer'"), ending)
    assert_done(client.reply(deadline=20), ending)
    assert_alive(client)
    assert prepared(server) == [] and ids(server) == ([1] if ending == "COMMIT PREPARED" else [])
    assert proxy.metric("holdfast_commit_outcomes_total", outcome="committed") == 1


@pytest.mark.versions
@pytest.mark.parametrize("direction", ("to_server", "to_client"))
@ENDINGS
@PROTOCOLS
def test_an_end_that_a_cut_network_interrupts_is_made_once(server, cuttable, relay, protocol, ending, direction):
    client = cuttable.wire()
    prepare(client)
    relay.cut_before(ending.encode(), direction)
    client.send(*protocol(f"{ending} 'transfer'"))
    assert_done(client.reply(deadline=20), ending)
    assert_alive(client)
    assert prepared(server) == [] and ids(server) == ([1] if ending == "COMMIT PREPARED" else [])


@pytest.mark.versions
@pytest.mark.parametrize("direction", ("to_server", "to_client"))
@PROTOCOLS
def test_a_prepare_that_a_cut_network_interrupts_is_made_once(server, cuttable, relay, protocol, direction):
    client = cuttable.wire()
    begin(client)
    relay.cut_before(b"PREPARE TRANSACTION", direction)
    client.send(*protocol("PREPARE TRANSACTION 'transfer'"))
    assert_done(client.reply(deadline=20), "PREPARE TRANSACTION")
    assert prepared(server) == [("transfer",)]
    assert_done(client.query("COMMIT PREPARED 'transfer'"), "COMMIT PREPARED")
    assert ids(server) == [1]


def test_a_global_id_that_another_transaction_has_is_not_taken_for_the_clients(server, cuttable, relay):
    other = cuttable.wire()
    other.query("BEGIN")
    other.query("INSERT INTO ids VALUES (9)")
    assert_done(other.query("PREPARE TRANSACTION 'transfer'"), "PREPARE TRANSACTION")
    client = cuttable.wire()
    begin(client)
    relay.cut_before(b"transfer", "to_client")  # the error names it
    client.send(wire.query("PREPARE TRANSACTION 'transfer'"))
    reply = client.reply(deadline=20)
    assert [error.code for error in reply.errors] == ["42710"] and reply.status == "I", reply
    assert_done(client.query("COMMIT PREPARED 'transfer'"), "COMMIT PREPARED")
    assert ids(server) == [9]


def test_an_end_that_somebody_else_was_faster_with_gets_the_servers_word(server, cuttable, relay):
    client = cuttable.wire()
    prepare(client)
    relay.cut_before(b"COMMIT PREPARED", "to_server")
    relay.refuse()
    client.send(wire.query("COMMIT PREPARED 'transfer'"))
    cuttable.wait_for_state("reconnecting")
    server.query("ROLLBACK PREPARED 'transfer'")
    relay.refuse(False)
    reply = client.reply(deadline=20)
    assert [error.code for error in reply.errors] == ["42704"], reply
    assert_alive(client)
    assert ids(server) == []


def test_a_frozen_server_is_left_before_the_statement_has_gone_out(server, start_holdfast):
    proxy = start_holdfast(server, connection={"reconnect": {"hang_timeout": "500ms", "connection_timeout": "1s"}})
    client = proxy.wire()
    begin(client)
    server.freeze()
    client.send(wire.query("PREPARE TRANSACTION 'transfer'"))
    wait_for(lambda: "leaves it" in proxy.log(), 10, "the session has left its server")
    server.restart("kill9_all")
    assert_done(client.reply(deadline=20), "PREPARE TRANSACTION")
    assert prepared(server) == [("transfer",)]


@pytest.mark.parametrize("direction", ("to_server", "to_client"))
@ENDINGS
def test_transaction_ids_beyond_32_bits_are_told_apart(server, cuttable, relay, ending, direction):
    server.stop()
    server.control_data("pg_resetwal", "-e", "3")
    server.start()
    client = cuttable.wire()
    begin(client)
    relay.cut_before(b"PREPARE TRANSACTION", direction)
    client.send(wire.query("PREPARE TRANSACTION 'transfer'"))
    assert_done(client.reply(deadline=20), "PREPARE TRANSACTION")
    relay.cut_before(ending.encode(), direction)
    client.send(wire.query(f"{ending} 'transfer'"))
    assert_done(client.reply(deadline=20), ending)
    assert prepared(server) == [] and ids(server) == ([1] if ending == "COMMIT PREPARED" else [])
    assert int(client.value("SELECT pg_current_xact_id()")) >> 32 == 3


@pytest.mark.parametrize("setting", ("standard_conforming_strings = off", "client_encoding = latin1"))
def test_a_global_id_that_the_server_reads_otherwise_is_never_taken_for_one_that_is_not_there(server, cuttable, relay, setting):
    client = cuttable.wire()
    client.query(f"SET {setting}")
    begin(client)
    relay.cut_before(b"PREPARE TRANSACTION", "to_client")
    client.send(wire.query("PREPARE TRANSACTION 'a\\\\b\u00e9'"))
    reply = client.reply(deadline=20)
    assert_lost(reply, UNKNOWN)
    assert len(prepared(server)) == 1, "it was done, and is not done twice"


@pytest.mark.fault_free
def test_one_that_is_not_there_gets_the_servers_word(proxy):
    client = proxy.wire()
    assert client.query("COMMIT PREPARED 'nothing'").error.code == "42704"
    assert client.query("PREPARE TRANSACTION 'outside'").status == "I"
    client.query("BEGIN")
    client.query("SELECT 1/0")
    assert_done(client.query("PREPARE TRANSACTION 'failed'"), "ROLLBACK")
    client.query("BEGIN")
    assert client.query("COMMIT PREPARED 'nothing'").error.code == "25001"
    assert_done(client.query("ROLLBACK"), "ROLLBACK")
    assert_alive(client)


def test_after_a_failover_the_end_that_cannot_be_told_is_an_unknown_outcome(server, start_holdfast):
    standby = server.make_standby()
    try:
        proxy = start_holdfast(f"postgres://app@127.0.0.1:{server.port},127.0.0.1:{standby.port}/app"
                               "?sslmode=disable&target_session_attrs=read-write")
        client = proxy.wire()
        prepare(client)
        client.query("SET synchronous_commit = remote_apply")
        with server.commits_wait():
            client.send(wire.query("COMMIT PREPARED 'transfer'"))
            server.wait_until_waiting("COMMIT PREPARED", "SyncRep")
            wait_for(lambda: standby.query("SELECT count(*) FROM ids") == [(1,)], 10, "the standby has it")
            server.kill9_all()
        standby.promote()
        assert_lost(client.reply(deadline=30), UNKNOWN)
        assert_alive(client)
        prepare(client)
        assert_done(client.query("COMMIT PREPARED 'transfer'"), "COMMIT PREPARED")
    finally:
        standby.close()


def test_psycopg_commits_in_two_phases_through_kills(server, proxy):
    connection = proxy.connect(autocommit=False)
    for number in range(12):
        xid = connection.xid(1, f"transfer-{number}", "holdfast")
        connection.tpc_begin(xid)
        connection.execute("INSERT INTO ids VALUES (%s)", (number,))
        if number % 3 == 0:
            server.restart("kill9")
        connection.tpc_prepare()
        if number % 3 == 1:
            server.restart("kill9")
        connection.tpc_commit() if number % 2 else connection.tpc_rollback()
        if number % 3 == 2:
            server.restart("kill9")
    assert ids(server) == [number for number in range(12) if number % 2]
    assert prepared(server) == []
