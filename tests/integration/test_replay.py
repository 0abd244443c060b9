"""Rows 4, 5, 7 to 13: what a loss interrupts is run again on a real server, and the client sees nothing but time.

test_lost_statements.py and test_lost_transactions.py show the same moments with `replay: off`.
"""

import datetime
import json
import threading

import psycopg
import pytest

from expectations import FAULTS, LOST, UNKNOWN, assert_alive, assert_failed_until_rollback, assert_lost, inflict
from support import wire
from support.waiting import wait_for

PROTOCOLS = {
    "simple": lambda client, sql: client.send(wire.query(sql)),
    "extended": lambda client, sql: client.send(wire.extended(sql), wire.SYNC),
}


def begin(client, server):
    """An open transaction that has written the id 1; the pid of its backend, which the client has not seen."""
    assert client.query("BEGIN").status == "T"
    assert client.query("INSERT INTO ids VALUES (1)").tags == ["INSERT 0 1"]
    return server.open_transaction()


def lose(server, fault, send, fragment):
    """Starts a statement that waits for the table `blocked`, and inflicts the fault."""
    with server.block():
        send()
        inflict(server, fault, server.wait_until_waiting(fragment))


def ids(server):
    return sorted(number for (number,) in server.query("SELECT id FROM ids"))


# Row 4, 5, 12: reads.

@pytest.mark.versions
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_read_that_was_under_way_is_run_again(server, proxy, fault, protocol):
    client = proxy.wire()
    sql = "SELECT count(*) FROM blocked"
    lose(server, fault, lambda: PROTOCOLS[protocol](client, sql), sql)
    reply = client.reply(deadline=20)
    assert reply.rows == [("0",)] and reply.status == "I", reply
    assert_alive(client)


def test_a_read_of_which_rows_were_delivered_goes_on_where_it_was(server, start_holdfast):
    server.query("CREATE OR REPLACE FUNCTION look() RETURNS text LANGUAGE plpgsql STABLE AS"
                 " $$ BEGIN RETURN (SELECT count(*)::text FROM blocked); END $$")
    proxy = start_holdfast(server, connection={"read_only_functions": ["public.look"]})
    client = proxy.wire()
    sql = "SELECT n || repeat('x', 1000) FROM generate_series(1, 100) AS n UNION ALL SELECT look()"

    def send():
        client.send(wire.query(sql))
        server.wait_until_waiting("look()")
        client.receive_until("D")

    lose(server, "kill9", send, "look()")
    reply = client.reply(deadline=20)
    assert len(reply.rows) == 100 and reply.rows[-1] == ("0",) and reply.status == "I", reply
    assert len(set(reply.rows)) == 100, "no row came twice"


def test_a_read_that_gives_something_else_the_second_time_ends_with_40001(server, start_holdfast):
    server.query("CREATE OR REPLACE FUNCTION look() RETURNS text LANGUAGE plpgsql STABLE AS"
                 " $$ BEGIN RETURN (SELECT count(*)::text FROM blocked); END $$")
    proxy = start_holdfast(server, connection={"read_only_functions": ["look"]})
    client = proxy.wire()
    with server.block():
        client.send(wire.query("SELECT random()::text || repeat('x', 1000) FROM generate_series(1, 100) UNION ALL SELECT look()"))
        server.wait_until_waiting("look()")
        client.receive_until("D")
        server.restart("kill9")
    assert_lost(client.reply(deadline=20), LOST)
    assert_alive(client)


def test_a_message_of_which_a_part_was_delivered_is_completed(server, start_holdfast):
    server.query("CREATE OR REPLACE FUNCTION look() RETURNS text LANGUAGE plpgsql STABLE AS"
                 " $$ BEGIN RETURN (SELECT count(*)::text FROM blocked); END $$")
    proxy = start_holdfast(server, connection={"read_only_functions": ["look"], "message_buffer": "8KiB"})
    client = proxy.wire()
    size = 32 * 1024 * 1024
    # More than the sockets between hold: the server is still writing it when it dies.
    client.send(wire.query(f"SELECT repeat('y', {size})"))
    server.wait_until_running("repeat('y'")
    wait_for(lambda: server.query("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'ClientWrite'"), 10, "it waits for its client")
    server.restart("kill9_all")
    reply = client.reply(deadline=60)
    assert reply.status == "I" and [len(row[0]) for row in reply.rows] == [size], "one row, whole"
    assert set(reply.rows[0][0]) == {"y"}
    assert_alive(client)


@pytest.mark.parametrize("fault", ("kill9", "fast"))
def test_copy_out_that_was_under_way_is_run_again(server, proxy, fault):
    client = proxy.wire()
    sql = "COPY (SELECT count(*) FROM blocked) TO STDOUT"
    lose(server, fault, lambda: client.send(wire.query(sql)), sql)
    reply = client.reply(deadline=20)
    assert reply.tags == ["COPY 1"] and reply.kinds == "HdcCZ", reply


VIEWS = {
    "a view that reads": ("CREATE OR REPLACE VIEW seen AS SELECT count(*) AS n, max(lower(who)) AS who FROM (SELECT id FROM"
                          " blocked) AS b LEFT JOIN ids USING (id)", "SELECT n FROM seen", True),
    "a view that writes": ("CREATE OR REPLACE FUNCTION note() RETURNS int LANGUAGE plpgsql AS"
                           " $$ BEGIN INSERT INTO ids VALUES (99); RETURN 0; END $$;"
                           " CREATE OR REPLACE VIEW writing AS SELECT note() AS n, count(*) FROM blocked",
                           "SELECT n FROM writing", False),
    "a function of the user's that says it is stable": (
        "CREATE OR REPLACE FUNCTION sly() RETURNS int LANGUAGE plpgsql STABLE AS"
        " $$ BEGIN PERFORM count(*) FROM blocked; RETURN 0; END $$", "SELECT sly()", False),
    "an overload of a builtin": ("CREATE SCHEMA IF NOT EXISTS mine; GRANT USAGE ON SCHEMA mine TO PUBLIC;"
                                 " CREATE OR REPLACE FUNCTION mine.lower(int) RETURNS int"
                                 " LANGUAGE sql AS 'SELECT 1'", "SELECT lower('A'), count(*) FROM blocked", False),
    "an operator of the user's": ("CREATE SCHEMA IF NOT EXISTS mine; CREATE OR REPLACE FUNCTION mine.same(ids, ids)"
                                  " RETURNS bool LANGUAGE sql AS 'SELECT true'; DROP OPERATOR IF EXISTS mine.=== (ids, ids);"
                                  " CREATE OPERATOR mine.=== (LEFTARG = ids, RIGHTARG = ids, FUNCTION = mine.same)",
                                  "SELECT count(*) FROM blocked WHERE (1, 'a')::ids OPERATOR(mine.===) (1, 'a')::ids", False),
    "row security": ("CREATE TABLE IF NOT EXISTS guarded (id int); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;"
                     " GRANT SELECT ON guarded TO PUBLIC", "SELECT count(*) FROM guarded, blocked", False),
    "a catalog view": ("", "SELECT count(*) FROM pg_stat_activity, pg_tables, blocked", True),
}


@pytest.mark.versions
@pytest.mark.parametrize("what", VIEWS)
@pytest.mark.no_ledger
def test_what_only_reads_is_told_by_the_catalog(server, proxy, what):
    make, sql, reads = VIEWS[what]
    if make:
        server.query(make + "; GRANT SELECT ON ALL TABLES IN SCHEMA public TO PUBLIC")
    client = proxy.wire()
    try:
        lose(server, "kill9", lambda: client.send(wire.query(sql)), sql)
        reply = client.reply(deadline=20)
        if reads:
            assert not reply.errors and len(reply.rows) == 1, reply
        else:
            assert reply.error.code in (LOST, UNKNOWN), reply
            assert "may do more" in proxy.log()
        assert ids(server) == []
    finally:
        server.query("DROP SCHEMA IF EXISTS mine CASCADE")


# Rows 7 to 10: transactions.

@pytest.mark.versions
@pytest.mark.parametrize("fault", FAULTS)
def test_an_idle_transaction_goes_on(server, proxy, fault):
    client = proxy.wire()
    inflict(server, fault, begin(client, server))
    assert client.query("INSERT INTO ids VALUES (2)", deadline=20).tags == ["INSERT 0 1"]
    reply = client.query("COMMIT")
    assert reply.tags == ["COMMIT"] and reply.status == "I", reply
    assert ids(server) == [1, 2]


def test_an_idle_transaction_is_run_again_at_once_for_its_locks_matter_to_others(server, proxy):
    client = proxy.wire()
    begin(client, server)
    client.query("LOCK TABLE blocked IN ACCESS EXCLUSIVE MODE")
    server.restart("kill9")
    held = "SELECT 1 FROM pg_locks WHERE relation = 'blocked'::regclass AND mode = 'AccessExclusiveLock' AND granted"
    wait_for(lambda: server.query(held), 10, "it holds its lock again, though its client has said nothing")
    assert client.query("COMMIT").tags == ["COMMIT"]


@pytest.mark.versions
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_transactions_statement_under_way_is_run_again_in_it(server, proxy, fault, protocol):
    client = proxy.wire()
    begin(client, server)
    lose(server, fault, lambda: PROTOCOLS[protocol](client, "INSERT INTO blocked SELECT 1 WHERE false"), "INSERT INTO blocked")
    reply = client.reply(deadline=20)
    assert reply.tags == ["INSERT 0 0"] and reply.status == "T", reply
    assert client.query("COMMIT").tags == ["COMMIT"]
    assert ids(server) == [1]


@pytest.mark.parametrize("isolation", ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"))
def test_a_result_that_differs_the_second_time_is_40001(server, proxy, isolation):
    server.query("INSERT INTO ids VALUES (10)")
    client = proxy.wire()
    client.query(f"BEGIN ISOLATION LEVEL {isolation}")
    assert client.query("SELECT count(*) FROM ids").rows == [("1",)]
    server.kill9()
    server.start()
    server.query("INSERT INTO ids VALUES (11)")
    # The transaction may have been run again before the row came: then it goes on with what it saw, as its level says.
    reply = client.query("SELECT count(*) FROM ids", deadline=20)
    if reply.errors:
        assert_lost(reply, LOST, "E")
        assert_failed_until_rollback(client)
    else:
        assert reply.rows == [("2",)] if isolation == "READ COMMITTED" else [("1",)], reply


def test_a_transaction_that_has_seen_what_is_there_no_more_is_40001(server, proxy):
    server.query("INSERT INTO ids VALUES (10)")
    client = proxy.wire()
    client.query("BEGIN")
    assert client.query("SELECT count(*) FROM ids").rows == [("1",)]
    # Changed by somebody else while its backend lives: the second run cannot see what the first has seen.
    server.query("INSERT INTO ids VALUES (11)")
    server.restart("kill9")
    reply = client.query("INSERT INTO ids VALUES (12)", deadline=20)
    assert_lost(reply, LOST, "E")
    assert_failed_until_rollback(client)
    assert ids(server) == [10, 11]


GENERATED = ("INSERT INTO numbered (who) VALUES ('x') RETURNING id", "SELECT now()", "SELECT gen_random_uuid()",
             "SELECT pg_backend_pid()")


@pytest.mark.parametrize("sql", GENERATED)
def test_a_generated_value_that_the_client_has_seen_is_40001(server, proxy, sql):
    server.query("CREATE TABLE IF NOT EXISTS numbered (id serial, who text); GRANT ALL ON numbered TO PUBLIC;"
                 " GRANT ALL ON SEQUENCE numbered_id_seq TO PUBLIC")
    client = proxy.wire()
    client.query("BEGIN")
    assert not client.query(sql).errors
    server.query("INSERT INTO numbered (who) VALUES ('y')")  # its commit makes the sequence's progress durable
    server.restart("kill9")
    assert_lost(client.query("SELECT 1", deadline=20), LOST, "E")


def test_settings_prepared_statements_and_savepoints_of_the_transaction_are_there_again(server, proxy):
    client = proxy.wire()
    client.query("SET search_path = extra, public")
    client.run(wire.parse("INSERT INTO ids VALUES ($1)", "before"))
    client.query("BEGIN")
    client.query("SET LOCAL work_mem = '7MB'; SELECT 1")
    client.run(wire.parse("INSERT INTO ids VALUES ($1 + 100)", "within"))
    client.run(wire.bind([1], "before"), wire.execute())
    client.run(wire.bind([1], "within"), wire.execute())
    client.query("SAVEPOINT here")
    client.query("INSERT INTO ids VALUES (50)")
    assert client.query("SELECT 1/0").status == "E"
    assert client.query("ROLLBACK TO here").status == "T"
    server.restart("kill9")
    assert client.value("SHOW work_mem") == "7MB"
    assert client.value("SHOW search_path") == "extra, public"
    assert client.run(wire.bind([2], "within"), wire.execute()).tags == ["INSERT 0 1"]
    assert client.query("ROLLBACK TO here").status == "T", "the savepoint is there"
    assert client.query("COMMIT").tags == ["COMMIT"]
    assert ids(server) == [1, 101]


def test_a_failed_transaction_can_go_back_to_its_savepoint(server, proxy):
    client = proxy.wire()
    begin(client, server)
    client.query("SAVEPOINT here")
    assert client.query("SELECT 1/0").status == "E"
    server.restart("kill9")
    reply = client.query("ROLLBACK TO here", deadline=20)
    assert reply.tags == ["ROLLBACK"] and reply.status == "T", reply
    assert client.query("COMMIT").tags == ["COMMIT"]
    assert ids(server) == [1]


def test_cursors_and_portals_with_row_limits_go_on_where_they_were(server, proxy):
    client = proxy.wire()
    client.query("BEGIN")
    client.query("DECLARE c CURSOR FOR SELECT n FROM generate_series(1, 10) AS n")
    assert client.query("FETCH 3 FROM c").rows == [("1",), ("2",), ("3",)]
    client.run(wire.parse("SELECT n FROM generate_series(1, 10) AS n") + wire.bind(portal="p") + wire.execute("p", 4))
    server.restart("kill9")
    assert client.query("FETCH 2 FROM c", deadline=20).rows == [("4",), ("5",)]
    assert client.run(wire.execute("p", 2)).rows == [("5",), ("6",)]
    client.query("COMMIT")


@pytest.mark.versions
def test_a_transaction_that_makes_its_table_goes_on_though_the_table_has_another_oid(server, proxy):
    server.query("DROP TABLE IF EXISTS made")
    client = proxy.wire()
    client.query("BEGIN")
    client.query("CREATE TABLE made (id int)")
    first = client.query("INSERT INTO made VALUES (1) RETURNING id")
    server.restart("kill9")
    second = client.query("INSERT INTO made VALUES (2) RETURNING id", deadline=20)
    assert first.rows == [("1",)] and second.rows == [("2",)] and second.status == "T", second
    assert first.messages[0] != second.messages[0], "the OID in its RowDescription is another"
    assert client.query("COMMIT").tags == ["COMMIT"]


def test_a_type_that_the_transaction_makes_has_an_oid_that_drivers_know(server, proxy):
    server.query("DROP TYPE IF EXISTS mood")
    client = proxy.wire()
    client.query("BEGIN")
    client.query("CREATE TYPE mood AS ENUM ('good', 'bad')")
    assert client.query("SELECT 'good'::mood").rows == [("good",)]
    server.restart("kill9")
    assert_lost(client.query("SELECT 'bad'::mood", deadline=20), LOST, "E")


NOT_REPLAYABLE = {
    "advisory_lock": "SELECT pg_advisory_xact_lock(7)",
    "large_object": "SELECT lo_create(0) > 0",
    "outside_effect": "SELECT length(pg_export_snapshot()) > 0",
    "procedure": "DO 'BEGIN NULL; END'",
    "transaction_control": "COMMIT; BEGIN",
    "prepared_statement": "PREPARE late AS SELECT 1",
}


@pytest.mark.parametrize("reason", NOT_REPLAYABLE)
def test_what_cannot_be_run_again_is_40001_with_the_reason_in_the_log(server, proxy, reason):
    client = proxy.wire()
    begin(client, server)
    assert not client.query(NOT_REPLAYABLE[reason]).errors
    server.restart("kill9")
    assert_lost(client.query("SELECT 1", deadline=20), LOST, "E")
    wait_for(lambda: f"is not run again: {reason}" in proxy.log(), 5, "the log says why")
    assert_failed_until_rollback(client)


def test_a_transaction_over_replay_limit_is_40001(server, start_holdfast):
    proxy = start_holdfast(server, connection={"replay_limit": "8KiB"})
    client = proxy.wire()
    begin(client, server)
    client.query(f"SELECT '{'x' * 9000}'")
    assert '"restorable"' in proxy.admin("/api/v1/sessions")[1]
    server.restart("kill9")
    assert_lost(client.query("SELECT 1", deadline=20), LOST, "E")


def test_a_transaction_is_run_again_once_only(server, proxy):
    client = proxy.wire()
    begin(client, server)
    server.restart("kill9")
    wait_for(lambda: proxy.metric("holdfast_transactions_replayed_total", result="succeeded") == 1, 10, "it was run again")
    server.restart("kill9")
    assert_lost(client.query("SELECT 1", deadline=20), LOST, "E")
    assert_failed_until_rollback(client)
    # And the next transaction has its own right to it.
    begin(client, server)
    server.restart("kill9")
    assert client.query("COMMIT", deadline=20).tags == ["COMMIT"]
    assert ids(server) == [1]


def test_a_second_run_that_takes_too_long_is_given_up(server, start_holdfast):
    proxy = start_holdfast(server, connection={"replay_time_limit": "1s"})
    client = proxy.wire()
    begin(client, server)
    client.query("SELECT count(*) FROM blocked")
    server.kill9()
    server.start()
    # The race for the lock is the test's to win: the proxy's session comes back on its own.
    with server.block():
        reply = client.query("SELECT count(*) FROM blocked", deadline=30)
    if reply.errors:
        assert_lost(reply, LOST, "E")
    else:
        assert reply.rows == [("0",)]


@pytest.mark.parametrize("sync", (False, True))
@pytest.mark.no_ledger
def test_a_commit_under_way_stays_an_unknown_outcome_where_the_server_says_nothing(server, proxy, sync):
    client = proxy.wire()
    pid = begin(client, server)
    server.freeze(pid)
    client.send(wire.query("COMMIT") if not sync else wire.extended("COMMIT") + wire.SYNC)
    server.wait_until_sent(pid)
    server.restart("kill9_all")
    assert_lost(client.reply(deadline=20), UNKNOWN)
    assert_alive(client)
    assert ids(server) == []


# Row 11, 13: pipelines and COPY.

@pytest.mark.parametrize("fault", ("kill9", "fast"))
@pytest.mark.versions
def test_a_pipeline_without_its_sync_is_sent_again_whole(server, proxy, fault):
    client = proxy.wire()
    client.send(wire.extended("INSERT INTO ids VALUES (1)"), wire.FLUSH)
    client.receive_until("C")
    client.send(wire.extended("SELECT count(*) FROM ids"), wire.FLUSH)
    client.receive_until("C")
    server.restart(fault)
    client.send(wire.extended("SELECT 'last'"), wire.SYNC)
    reply = client.reply(deadline=20)
    assert reply.rows == [("last",)] and reply.status == "I", reply
    assert ids(server) == [1]


@pytest.mark.parametrize("fault", ("kill9", "fast", "immediate"))
@pytest.mark.versions
def test_copy_in_before_its_end_goes_on(server, proxy, fault):
    client = proxy.wire()
    client.send(wire.query("COPY ids (id) FROM STDIN"))
    assert client.receive_until("G").kinds == "G"
    client.send(wire.copy_data(b"1\n"), wire.copy_data(b"2\n"))
    server.restart(fault)
    client.send(wire.copy_data(b"3\n"), wire.copy_data(b"4\n"), wire.COPY_DONE)
    reply = client.reply(deadline=20)
    assert reply.tags == ["COPY 4"], reply
    assert ids(server) == [1, 2, 3, 4]


def test_copy_in_over_the_limit_is_40001_and_its_data_is_discarded(server, start_holdfast):
    proxy = start_holdfast(server, connection={"replay_limit": "16KiB"})
    client = proxy.wire()
    client.send(wire.query("COPY ids (id) FROM STDIN"))
    assert client.receive_until("G").kinds == "G"
    for _ in range(10):
        client.send(wire.copy_data(b"1\n" * 1000))
    wait_for(lambda: proxy.metric("holdfast_bytes_total", direction="to_server") > 20000, 10, "the data went through")
    server.restart("kill9")
    client.send(wire.copy_data(b"2\n"), wire.COPY_DONE)
    assert_lost(client.reply(deadline=20), LOST)
    assert_alive(client)
    assert ids(server) == []


# Row 6, 9: what the server says for certain.

@pytest.mark.versions
@pytest.mark.parametrize("what", ("write", "commit"))
def test_a_simple_write_that_a_shutdown_cut_off_is_run_again(server, proxy, what):
    client = proxy.wire()
    sql = "INSERT INTO ids SELECT 1 FROM (SELECT count(*) FROM blocked) AS waited"
    if what == "write":
        lose(server, "fast", lambda: client.send(wire.query(sql)), sql)
        reply = client.reply(deadline=20)
        assert reply.tags == ["INSERT 0 1"] and reply.status == "I", reply
    else:
        begin(client, server)
        client.query("INSERT INTO slow_to_commit VALUES (1)")
        lose(server, "fast", lambda: client.send(wire.query("COMMIT")), "COMMIT")
        reply = client.reply(deadline=20)
        assert reply.tags == ["COMMIT"] and reply.status == "I", reply
    assert ids(server) == [1]


# What is cancelled, and by whom.

def test_a_cancel_reaches_the_second_run(server, proxy):
    connection = proxy.connect()
    connection.execute("BEGIN")
    connection.execute("INSERT INTO ids VALUES (1)")
    outcome = []

    def run():
        try:
            connection.execute("SELECT pg_sleep(60)")
        except psycopg.Error as error:
            outcome.append(error.sqlstate)

    waiting = threading.Thread(target=run)
    waiting.start()
    server.wait_until_running("pg_sleep(60)")
    server.restart("kill9")
    server.wait_until_running("pg_sleep(60)")
    connection.cancel()
    waiting.join(20)
    assert outcome == ["57014"]
    assert not connection.closed
    connection.rollback()


def test_psycopg_and_its_pool_notice_nothing(server, proxy):
    connection = proxy.connect()
    attempts = 0
    for number in range(3):
        with connection.transaction():
            attempts += 1
            connection.execute("INSERT INTO ids VALUES (%s)", (number,))
            server.restart("kill9")
            connection.execute("INSERT INTO ids VALUES (%s)", (number + 10,))
    assert attempts == 3
    assert ids(server) == [0, 1, 2, 10, 11, 12]


def test_the_list_of_sessions_says_since_when_a_statement_runs_and_what_an_outage_would_mean(server, proxy):
    client = proxy.wire()

    def session():
        return json.loads(proxy.admin("/api/v1/sessions")[1])[0]

    assert session()["statementStart"] is None and session()["protection"] == "replayable"
    with server.block():
        client.send(wire.query("SELECT count(*) FROM blocked"))
        server.wait_until_waiting("count(*) FROM blocked")
        started = datetime.datetime.fromisoformat(session()["statementStart"].replace("Z", "+00:00"))
        assert abs((datetime.datetime.now(datetime.timezone.utc) - started).total_seconds()) < 30
    assert client.reply().rows == [("0",)]
    wait_for(lambda: session()["statementStart"] is None, 5, "it is over")
    client.query("CREATE TEMP TABLE mine (id int)")
    wait_for(lambda: session()["protection"] == "not_restorable", 5, "what it holds is seen")
