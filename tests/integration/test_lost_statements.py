"""Rows 4, 5, 6, 12, 13, 17: autocommit statements and COPY that a loss interrupts. The session lives; the error is accurate."""

import pytest

from expectations import FAULTS, LOST, UNKNOWN, assert_alive, assert_lost, inflict
from support import wire


@pytest.fixture
def proxy(server, start_holdfast):
    """Nothing that is lost is run again: what is, test_replay.py shows."""
    return start_holdfast(server, connection={"replay": "off"})


# How a statement is sent: one Query, or the extended protocol with its Sync.
PROTOCOLS = {
    "simple": lambda client, sql: client.send(wire.query(sql)),
    "extended": lambda client, sql: client.send(wire.extended(sql), wire.SYNC),
}


def lose(server, client, fault, send, fragment):
    """Starts a statement that waits for the table `blocked`, inflicts the fault, and returns the reply."""
    with server.block():
        send()
        pid = server.wait_until_waiting(fragment)
        inflict(server, fault, pid)
    return client.reply(deadline=20)


@pytest.mark.versions
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_read_that_was_under_way_ends_with_40001(server, proxy, fault, protocol):
    client = proxy.wire()
    sql = "SELECT count(*) FROM blocked"
    reply = lose(server, client, fault, lambda: PROTOCOLS[protocol](client, sql), sql)
    assert_lost(reply, LOST)
    assert_alive(client)


@pytest.mark.versions
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_write_that_was_under_way_ends_with_08007(server, proxy, fault, protocol):
    client = proxy.wire()
    sql = "INSERT INTO ids SELECT 1 FROM (SELECT count(*) FROM blocked) AS waited"
    reply = lose(server, client, fault, lambda: PROTOCOLS[protocol](client, sql), sql)
    assert_lost(reply, UNKNOWN)
    assert_alive(client)
    assert server.query("SELECT count(*) FROM ids") == [(0,)]


@pytest.mark.no_ledger
def test_the_code_of_an_unknown_outcome_can_be_40003(server, start_holdfast):
    proxy = start_holdfast(server, connection={"unknown_outcome_code": "40003"})
    client = proxy.wire()
    sql = "INSERT INTO blocked VALUES (1)"
    assert_lost(lose(server, client, "kill9", lambda: client.send(wire.query(sql)), sql), "40003")
    assert_alive(client)


def test_a_write_whose_commit_was_done_ends_with_08007_and_is_there_once(server, proxy):
    client = proxy.wire()
    with server.commits_wait():
        client.send(wire.query("INSERT INTO ids VALUES (7)"))
        server.wait_until_waiting("INSERT INTO ids VALUES (7)", "SyncRep")
        server.restart("kill9_all")
    assert_lost(client.reply(deadline=20), UNKNOWN)
    assert_alive(client)
    assert server.query("SELECT id FROM ids") == [(7,)]


def test_a_fast_shutdown_while_a_commit_waits_for_its_standby_is_an_unknown_outcome(server, proxy):
    # The server warns, commits, and says FATAL 57P01: here that does not mean that nothing was committed.
    client = proxy.wire()
    with server.commits_wait():
        client.send(wire.query("INSERT INTO ids VALUES (8)"))
        server.wait_until_waiting("INSERT INTO ids VALUES (8)", "SyncRep")
        server.restart("fast")
    reply = client.reply(deadline=20)
    assert not reply.closed and reply.status == "I", reply
    assert reply.errors and reply.error.code == UNKNOWN, reply
    assert_alive(client)
    assert server.query("SELECT id FROM ids") == [(8,)]


@pytest.mark.parametrize("fault", ("kill9", "kill9_all"))
def test_a_read_of_which_rows_were_delivered_ends_with_40001(server, proxy, fault):
    client = proxy.wire()
    # Planning locks every table that it sees, and would wait before the first row: this function's body it does not see.
    # The rows before the last are larger than what the server keeps back before it sends.
    server.query("CREATE OR REPLACE FUNCTION look() RETURNS text LANGUAGE plpgsql STABLE AS"
                 " $$ BEGIN RETURN (SELECT count(*)::text FROM blocked); END $$")
    with server.block():
        client.send(wire.query("SELECT repeat('x', 1000) FROM generate_series(1, 100) UNION ALL SELECT look()"))
        server.wait_until_waiting("look()")
        client.receive_until("D")
        server.restart(fault)
    reply = client.reply(deadline=20)
    # `look` is a user's function: the proxy does not believe that it only reads.
    assert reply.error.code in (LOST, UNKNOWN) and reply.status == "I", reply
    assert_alive(client)


@pytest.mark.parametrize("fault", ("kill9", "fast"))
def test_copy_out_that_was_under_way_ends_with_40001(server, proxy, fault):
    client = proxy.wire()
    sql = "COPY (SELECT count(*) FROM blocked) TO STDOUT"
    reply = lose(server, client, fault, lambda: client.send(wire.query(sql)), sql)
    assert_lost(reply, LOST)
    assert_alive(client)


@pytest.mark.parametrize("fault", ("kill9", "fast", "immediate"))
@pytest.mark.versions
def test_copy_in_before_its_end_ends_with_40001_and_the_rest_of_the_data_is_discarded(server, proxy, fault):
    client = proxy.wire()
    client.send(wire.query("COPY ids (id) FROM STDIN"))
    assert client.receive_until("G").kinds == "G"
    client.send(wire.copy_data(b"1\n"), wire.copy_data(b"2\n"))
    server.restart(fault)
    client.send(wire.copy_data(b"3\n"), wire.copy_data(b"4\n"), wire.COPY_DONE)
    reply = client.reply(deadline=20)
    assert_lost(reply, LOST)
    assert server.query("SELECT count(*) FROM ids") == [(0,)]
    assert_alive(client)


def test_copy_in_after_its_end_is_an_unknown_outcome(server, proxy):
    client = proxy.wire()
    with server.commits_wait():
        client.send(wire.query("COPY ids (id) FROM STDIN"))
        client.receive_until("G")
        client.send(wire.copy_data(b"1\n"), wire.COPY_DONE)
        server.wait_until_waiting("COPY ids", "SyncRep")
        server.restart("kill9_all")
    assert_lost(client.reply(deadline=20), UNKNOWN)
    assert_alive(client)


@pytest.mark.parametrize("sql", ("CALL wait_for_blocked()", "DO 'BEGIN PERFORM 1 FROM blocked; END'"))
def test_call_and_do_that_were_under_way_are_unknown_outcomes(server, proxy, sql):
    client = proxy.wire()
    reply = lose(server, client, "kill9", lambda: client.send(wire.query(sql)), sql)
    assert_lost(reply, UNKNOWN)
    assert_alive(client)


def test_several_statements_in_one_text_are_an_unknown_outcome(server, proxy):
    client = proxy.wire()
    sql = "INSERT INTO ids VALUES (1); SELECT count(*) FROM blocked"
    reply = lose(server, client, "kill9", lambda: client.send(wire.query(sql)), "count(*) FROM blocked")
    assert reply.errors[-1].code == UNKNOWN and reply.status == "I", reply
    assert_alive(client)
    assert server.query("SELECT count(*) FROM ids") == [(0,)]


@pytest.mark.parametrize("fault", ("kill9", "fast"))
@pytest.mark.versions
def test_a_pipeline_without_its_sync_ends_with_40001(server, proxy, fault):
    client = proxy.wire()
    client.send(wire.extended("INSERT INTO ids VALUES (1)"), wire.FLUSH)
    client.receive_until("C")
    client.send(wire.extended("SELECT count(*) FROM ids"), wire.FLUSH)
    client.receive_until("C")
    server.restart(fault)
    client.send(wire.extended("SELECT 'last'"), wire.SYNC)
    reply = client.reply(deadline=20)
    assert_lost(reply, LOST)
    assert server.query("SELECT count(*) FROM ids") == [(0,)]
    assert_alive(client)


def test_a_pipeline_of_several_syncs_gets_one_answer_for_each(server, proxy):
    client = proxy.wire()
    with server.block():
        client.send(wire.extended("SELECT 1"), wire.SYNC, wire.extended("INSERT INTO blocked VALUES (1)"), wire.SYNC,
                    wire.extended("INSERT INTO ids VALUES (3)"), wire.SYNC)
        assert client.reply().rows == [("1",)]
        server.wait_until_waiting("INSERT INTO blocked")
        server.restart("kill9")
    assert_lost(client.reply(deadline=20), UNKNOWN)
    third = client.reply(deadline=20)
    assert third.status == "I" and len(third.errors) <= 1, third
    rows = server.query("SELECT count(*) FROM ids")
    if third.errors:
        # Its bytes may have reached the old server or not: but it was not run twice, and not reported falsely.
        assert third.error.code in (LOST, UNKNOWN) and rows == [(0,)], third
    else:
        assert third.tags == ["INSERT 0 1"] and rows == [(1,)], third
    assert_alive(client)


def test_a_statement_that_kills_its_backend_is_not_run_for_ever(server, proxy):
    client = proxy.wire(user="postgres", database="app")
    mark = len(server.log())
    client.send(wire.query("COPY (SELECT 1) TO PROGRAM 'kill -9 $PPID'"))
    reply = client.reply(deadline=30)
    assert reply.errors and reply.errors[-1].code in (LOST, UNKNOWN) and reply.status == "I", reply
    assert server.log()[mark:].count("was terminated by signal 9") <= 2
    assert_alive(client)


@pytest.mark.parametrize("block", [False, True])
def test_a_sync_behind_a_copy_that_fails_before_it_reads_is_answered(server, proxy, block):
    # As tokio-postgres sends it; the error comes behind CopyInResponse, and the server has not read the Sync by then.
    server.query("CREATE OR REPLACE VIEW not_for_copy AS SELECT * FROM ids; GRANT ALL ON not_for_copy TO PUBLIC")
    client = proxy.wire()
    if block:
        client.query("BEGIN")
    client.send(wire.parse("COPY not_for_copy FROM STDIN"), wire.bind(), wire.execute(), wire.SYNC)
    reply = client.reply()
    assert (reply.kinds, reply.error.code, reply.status) == ("12GEZ", "42809", "E" if block else "I")
    client.query("ROLLBACK")
    assert client.value("SELECT pg_backend_pid()") == str(client.pid), "its backend was not lost"
