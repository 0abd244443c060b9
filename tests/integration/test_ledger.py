"""exactly_once: on. A commit whose answer was lost is found in the ledger, or fenced out and run again: the client sees nothing."""

import subprocess

import psycopg
import pytest

from expectations import CANCELLED, LOST, assert_alive, assert_lost
from support import wire
from support.holdfast import BINARY
from support.waiting import wait_for


def ledger_sql(*arguments):
    return subprocess.run([str(BINARY), "ledger", *arguments], check=True, capture_output=True, text=True, timeout=15).stdout


@pytest.fixture(autouse=True)
def ledger(server):
    """Made anew: no test finds the rows of the one before."""
    with server.connect() as connection:
        connection.execute(ledger_sql("--drop"))
        connection.execute(ledger_sql())


@pytest.fixture
def proxy(server, start_holdfast):
    return start_holdfast(server, connection={"exactly_once": "on"})


def simple(text):
    return [wire.query(text)]


def extended(text):
    return [wire.extended(text), wire.SYNC]


PROTOCOLS = pytest.mark.parametrize("protocol", (simple, extended), ids=("simple", "extended"))


def assert_done(reply, *tags, status="I"):
    assert not reply.closed and not reply.errors, reply
    assert reply.tags == list(tags) and reply.status == status, reply


def ids(server):
    return sorted(row[0] for row in server.query("SELECT id FROM ids"))


def outcomes(proxy):
    return {word: int(proxy.metric("holdfast_commit_outcomes_total", outcome=word)) for word in ("committed", "not_committed", "unknown")}


def lose_after_commit(server, client, *messages, word="COMMIT"):
    """What is sent commits, and its answer is lost with the server."""
    with server.commits_wait():
        client.send(*messages)
        server.wait_until_waiting(word, "SyncRep")
        server.restart("kill9_all")


def lose_before_commit(server, client, *messages, word="COMMIT"):
    """What is sent is about to commit when the server dies: a deferred trigger holds it up."""
    with server.block():
        client.send(*messages)
        server.wait_until_waiting(word)
        server.restart("kill9")


@pytest.mark.versions
@PROTOCOLS
def test_a_commit_that_was_made_is_reported_as_made(server, proxy, protocol):
    client = proxy.wire()
    client.query("BEGIN")
    client.query("INSERT INTO ids VALUES (1)")
    lose_after_commit(server, client, *protocol("COMMIT"))
    assert_done(client.reply(deadline=20), "COMMIT")
    assert_alive(client)
    assert ids(server) == [1]
    assert outcomes(proxy) == {"committed": 1, "not_committed": 0, "unknown": 0}


@pytest.mark.versions
@PROTOCOLS
def test_a_commit_that_was_not_made_is_made_after_its_transaction_was_run_again(server, proxy, protocol):
    client = proxy.wire()
    client.query("BEGIN")
    client.query("INSERT INTO ids VALUES (1)")
    client.query("INSERT INTO slow_to_commit VALUES (1)")
    lose_before_commit(server, client, *protocol("COMMIT"))
    assert_done(client.reply(deadline=20), "COMMIT")
    assert_alive(client)
    assert ids(server) == [1]
    assert outcomes(proxy) == {"committed": 0, "not_committed": 1, "unknown": 0}


@pytest.mark.versions
@PROTOCOLS
def test_an_autocommit_write_that_was_made_is_reported_with_its_rows(server, proxy, protocol):
    client = proxy.wire()
    lose_after_commit(server, client, *protocol("INSERT INTO ids VALUES (1), (2) RETURNING id"),
                      word="COMMIT" if protocol is simple else "holdfast.record")
    reply = client.reply(deadline=20)
    assert_done(reply, "INSERT 0 2")
    assert reply.rows == [("1",), ("2",)]
    assert_alive(client)
    assert ids(server) == [1, 2]
    assert outcomes(proxy)["committed"] == 1


@pytest.mark.versions
@PROTOCOLS
def test_an_autocommit_write_that_was_not_made_is_made_once(server, proxy, protocol):
    client = proxy.wire()
    lose_before_commit(server, client, *protocol("WITH slow AS (INSERT INTO slow_to_commit VALUES (1)) INSERT INTO ids VALUES (1)"),
                       word="COMMIT" if protocol is simple else "holdfast.record")
    assert_done(client.reply(deadline=20), "INSERT 0 1")
    assert_alive(client)
    assert ids(server) == [1]
    assert outcomes(proxy)["not_committed"] == 1


@PROTOCOLS
def test_a_write_that_is_lost_in_the_middle_needs_no_question(server, proxy, protocol):
    client = proxy.wire()
    with server.block():
        client.send(*protocol("INSERT INTO ids SELECT count(*) FROM blocked"))
        server.wait_until_waiting("INSERT")
        server.restart("kill9")
    assert_done(client.reply(deadline=20), "INSERT 0 1")
    assert ids(server) == [0]
    assert outcomes(proxy) == {"committed": 0, "not_committed": 0, "unknown": 0}


def test_a_pipeline_with_its_commit_in_it_is_cut_before_the_commit(server, proxy):
    client = proxy.wire()
    lose_after_commit(server, client, wire.extended("BEGIN"), wire.extended("INSERT INTO ids VALUES (1) RETURNING id"),
                      wire.extended("COMMIT"), wire.SYNC)
    reply = client.reply(deadline=20)
    assert_done(reply, "BEGIN", "INSERT 0 1", "COMMIT")
    assert reply.rows == [("1",)]
    assert ids(server) == [1]


def test_copied_rows_are_there_once(server, proxy):
    client = proxy.wire()
    client.send(wire.query("COPY ids (id) FROM STDIN"))
    wait_for(lambda: server.query("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'COPY ids%'"), 5.0, "the copy has begun")
    lose_after_commit(server, client, wire.message("d", b"1\n2\n"), wire.message("c", b""))
    assert_done(client.reply(deadline=20), "COPY 2")
    assert ids(server) == [1, 2]


@pytest.mark.parametrize("before", ([], [wire.query("BEGIN"), wire.query("INSERT INTO slow_to_commit VALUES (1)")]),
                         ids=("by itself", "in a block"))
def test_a_second_run_that_gives_less_than_the_client_was_told_is_not_committed(server, proxy, before):
    server.query("DROP TABLE IF EXISTS source; CREATE TABLE source AS SELECT generate_series(1, 10) AS id; GRANT ALL ON source TO PUBLIC")
    client = proxy.wire()
    for each in before:
        client.send(each)
        assert not client.reply().errors
    sql = "INSERT INTO ids SELECT id FROM source" if before else \
        "WITH slow AS (INSERT INTO slow_to_commit VALUES (1)) INSERT INTO ids SELECT id FROM source"
    with server.block():
        client.send(wire.extended(sql), *([wire.extended("COMMIT")] if before else []), wire.SYNC)
        server.wait_until_waiting("COMMIT" if before else "holdfast.record")
        server.query("DELETE FROM source WHERE id = 10")
        server.restart("kill9")
    reply = client.reply(deadline=20)
    assert reply.tags == ["INSERT 0 10"] and reply.error.code == LOST, reply
    assert ids(server) == []
    assert_alive(client)


def test_a_copy_that_fails_while_its_client_sends_a_long_message_costs_that_copy_alone(server, proxy):
    client = proxy.wire()
    client.send(wire.query("COPY ids FROM STDIN"))
    client.receive_until("G")
    long = wire.copy_data(b"1\tx\n" * 100_000)
    client.send(wire.copy_data(b"no number\n" * 1000), long[:150_000])
    assert client.receive_until("E").errors[0].code == "22P02"
    server.wait_until_running("COPY ids", state="idle in transaction (aborted)")
    client.send(long[150_000:], wire.COPY_DONE)
    assert client.reply().status == "I"
    assert_alive(client)
    assert ids(server) == []


@pytest.mark.versions
@pytest.mark.parametrize("whose", ("session", "role"))
def test_a_commit_is_found_where_transactions_are_read_only_by_default(server, proxy, whose):
    if whose == "role":
        server.query("ALTER ROLE app SET default_transaction_read_only = on")
    try:
        client = proxy.wire()
        client.query("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY" if whose == "session" else "SELECT 1")
        client.query("BEGIN READ WRITE")
        client.query("INSERT INTO ids VALUES (1)")
        lose_after_commit(server, client, wire.query("COMMIT"))
        assert_done(client.reply(deadline=20), "COMMIT")
        assert client.value("SHOW default_transaction_read_only") == "on"
        assert ids(server) == [1]
    finally:
        server.query("ALTER ROLE app RESET default_transaction_read_only")


def test_many_clients_and_many_kills_leave_every_write_once(server, proxy):
    clients = [proxy.wire() for _ in range(8)]
    sent = 0
    for _ in range(6):
        for client in clients:
            client.send(*(wire.query(f"INSERT INTO ids VALUES ({sent + n})") for n in range(10)))
            sent += 10
        server.restart("kill9")
        for client in clients:
            for _ in range(10):
                assert_done(client.reply(deadline=30), "INSERT 0 1")
    assert ids(server) == list(range(sent))


@pytest.mark.fault_free
@PROTOCOLS
def test_an_error_at_the_commit_is_the_clients(server, proxy, protocol):
    server.query("CREATE TABLE IF NOT EXISTS unique_at_commit (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    server.query("TRUNCATE unique_at_commit; GRANT ALL ON unique_at_commit TO app")
    client = proxy.wire()
    for opening, closing in ((None, None), ("BEGIN", "COMMIT")):
        if opening:
            client.query(opening)
        client.send(*protocol("INSERT INTO unique_at_commit VALUES (1), (1)"))
        reply = client.reply()
        if closing:
            assert_done(reply, "INSERT 0 2", status="T")
            client.send(*protocol(closing))
            reply = client.reply()
        assert [error.code for error in reply.errors] == ["23505"], reply
        assert "unique_at_commit" in str(reply.error), reply
        if protocol is extended and closing:
            client.query("ROLLBACK")
        assert_alive(client)
    assert server.query("SELECT count(*) FROM unique_at_commit") == [(0,)]


@PROTOCOLS
def test_a_statement_that_fails_fails_as_without_the_ledger(server, proxy, protocol):
    client = proxy.wire()
    client.send(*protocol("INSERT INTO ids VALUES ('x')"))
    reply = client.reply()
    assert [error.code for error in reply.errors] == ["22P02"] and reply.status == "I", reply
    assert_alive(client)


@PROTOCOLS
def test_a_commit_that_cannot_be_recorded_is_an_error_and_no_success(server, proxy, protocol):
    client = proxy.wire()
    server.query("DROP FUNCTION holdfast.record")
    client.send(*protocol("INSERT INTO ids VALUES (1)"))
    assert client.reply().error.code == "42883"
    client.query("ROLLBACK")
    client.query("BEGIN")
    client.query("INSERT INTO ids VALUES (2)")
    client.send(*protocol("COMMIT"))
    reply = client.reply()
    assert reply.error.code == "42883" and not reply.tags, reply
    client.query("ROLLBACK")
    assert_alive(client)
    assert ids(server) == []


def test_reads_and_read_only_transactions_leave_no_row(server, proxy):
    client = proxy.wire()
    client.query("SELECT count(*) FROM ids")
    client.run(wire.extended("SELECT count(*) FROM ids"))
    client.query("BEGIN READ ONLY")
    client.query("SELECT unheard(1)")
    client.query("ROLLBACK")
    client.query("BEGIN")
    client.query("SELECT id FROM ids")
    assert_done(client.query("COMMIT"), "COMMIT")
    client.query("BEGIN READ ONLY")
    client.query("SELECT txid_current_if_assigned()")
    assert_done(client.query("COMMIT"), "COMMIT")
    assert server.query("SELECT count(*) FROM holdfast.ledger") == [(0,)]


def test_old_rows_of_the_ledger_are_removed_while_the_session_goes_on(server, proxy):
    client = proxy.wire()

    def few_are_left():
        for _ in range(20):
            assert_done(client.query("INSERT INTO ids VALUES (1)"), "INSERT 0 1")
        return server.query("SELECT count(*) FROM holdfast.ledger")[0][0] < 20

    for _ in range(10):
        assert_done(client.query("INSERT INTO ids VALUES (1)"), "INSERT 0 1")
    assert server.query("SELECT count(*) FROM holdfast.ledger") == [(10,)]
    for _ in range(100):
        client.query("INSERT INTO ids VALUES (1)")
    wait_for(few_are_left, 10.0, "rows were removed")


def test_rows_of_sessions_that_are_long_gone_are_removed(server, proxy):
    server.query("INSERT INTO holdfast.ledger VALUES (gen_random_uuid(), 1, false, now() - interval '25 hours')")
    client = proxy.wire()
    wait_for(lambda: server.query("SELECT count(*) FROM holdfast.ledger") == [(0,)], 10.0, "the old row was removed")
    assert_alive(client)


def test_sessions_that_only_read_leave_the_old_rows_to_one_that_may_remove_them(server, proxy):
    before = len(server.log())
    server.query("INSERT INTO holdfast.ledger VALUES (gen_random_uuid(), 1, false, now() - interval '25 hours')")
    proxy.wire()
    for _ in range(3):
        proxy.connect(options="-c default_transaction_read_only=on")
    wait_for(lambda: server.query("SELECT count(*) FROM holdfast.ledger") == [(0,)], 10.0, "the old row was removed")
    assert "read-only transaction" not in server.log(before)


def test_a_setting_changed_by_the_lost_transaction_ends_the_session_after_its_commit_is_told(server, proxy):
    client = proxy.wire()
    client.query("BEGIN")
    client.query("INSERT INTO ids VALUES (1)")
    client.query("SET search_path TO extra")
    lose_after_commit(server, client, wire.query("COMMIT"))
    reply = client.reply(deadline=20)
    assert_done(reply, "COMMIT")
    assert client.reply(deadline=5).closed
    assert ids(server) == [1]


def test_the_commit_of_a_transaction_that_cannot_be_run_again_is_found_all_the_same(server, proxy):
    client = proxy.wire()
    client.query("BEGIN")
    client.query("INSERT INTO ids VALUES (1)")
    client.query("SELECT pg_advisory_xact_lock(7)")
    lose_after_commit(server, client, wire.query("COMMIT"))
    assert_done(client.reply(deadline=20), "COMMIT")
    client.query("BEGIN")
    client.query("INSERT INTO slow_to_commit VALUES (2)")
    client.query("SELECT pg_advisory_xact_lock(7)")
    lose_before_commit(server, client, wire.query("COMMIT"))
    assert_lost(client.reply(deadline=20), LOST)
    assert_alive(client)
    assert outcomes(proxy) == {"committed": 1, "not_committed": 1, "unknown": 0}


def test_what_an_operator_kills_stays_dead(server, proxy):
    client = proxy.wire()
    with server.block():
        client.send(wire.query("INSERT INTO ids SELECT count(*) FROM blocked"))
        server.terminate(server.wait_until_waiting("INSERT"))
        assert_lost(client.reply(deadline=20), CANCELLED)
    assert_alive(client)
    assert ids(server) == []


def test_a_database_without_a_ledger_is_refused_at_the_login_with_what_to_do(server, proxy):
    server.query(ledger_sql("--drop"))
    with pytest.raises(psycopg.OperationalError, match="holdfast ledger"):
        proxy.connect()
    server.query(ledger_sql())
    assert_alive(proxy.wire())


def test_a_start_without_a_ledger_is_refused_with_what_to_do(server, start_holdfast):
    server.query(ledger_sql("--drop"))
    proxy = start_holdfast(server, connection={"exactly_once": "on"}, wait=False)
    proxy.expect_exit(1)
    assert proxy.process.wait(timeout=20) == 1
    assert "holdfast ledger" in proxy.log()


def test_a_role_without_rights_of_its_own_can_use_the_ledger(server, proxy):
    client = proxy.wire(user="other")
    server.query("GRANT ALL ON ids TO other")
    assert_done(client.query("INSERT INTO ids VALUES (1)"), "INSERT 0 1")
    assert client.query("SELECT * FROM holdfast.ledger").error.code == "42501"


def test_the_sql_of_the_ledger_can_be_run_again_and_taken_back(server):
    with server.connect() as connection:
        connection.execute(ledger_sql())
        connection.execute(ledger_sql("--drop"))
        assert connection.execute("SELECT to_regnamespace('holdfast')").fetchone() == (None,)
