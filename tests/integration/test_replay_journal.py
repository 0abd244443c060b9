"""What of a transaction is run again: not what ended with COMMIT AND CHAIN, nor what failed by the moment and was gone back behind."""

import pytest

from expectations import LOST, assert_lost
from support import wire
from support.waiting import wait_for


def ids(server):
    return sorted(number for (number,) in server.query("SELECT id FROM ids"))


@pytest.mark.versions
@pytest.mark.parametrize("end, kept", (("COMMIT AND CHAIN", [1, 2]), ("ROLLBACK AND CHAIN", [2])))
def test_a_chained_transaction_is_run_again_without_the_one_before_and_at_its_level(server, proxy, end, kept):
    client = proxy.wire()
    client.query("BEGIN ISOLATION LEVEL REPEATABLE READ")
    client.query("INSERT INTO ids VALUES (1)")
    client.run(wire.parse("INSERT INTO ids VALUES ($1)", "within"))
    assert client.query(end).status == "T"
    client.run(wire.bind([2], "within"), wire.execute())
    server.restart("kill9")
    assert client.value("SHOW transaction_isolation") == "repeatable read"
    assert client.query(end).status == "T"
    server.restart("kill9")
    # Each one of a chain has its own right to a second run.
    assert client.query("ROLLBACK", deadline=20).tags == ["ROLLBACK"]
    assert ids(server) == (kept if end.startswith("COMMIT") else [])


@pytest.mark.versions
def test_a_statement_that_failed_for_want_of_a_lock_is_not_run_again_behind_its_savepoint(server, proxy):
    client = proxy.wire()
    client.query("BEGIN")
    client.query("INSERT INTO ids VALUES (1)")
    client.query("SAVEPOINT here")
    assert client.value("SELECT 7") == "7"
    with server.block():
        assert client.query("LOCK TABLE blocked NOWAIT").error.code == "55P03"
        assert client.query("SELECT 1").error.code == "25P02"
    assert client.query("ROLLBACK TO here").status == "T"
    client.query("INSERT INTO ids VALUES (2)")
    server.restart("kill9")
    assert client.query("COMMIT", deadline=20).tags == ["COMMIT"]
    assert ids(server) == [1, 2]


@pytest.mark.parametrize("name", ("ids", "sly"))
def test_a_commit_of_what_only_read_is_told_to_have_left_nothing_though_it_may_not_run_a_third_time(server, proxy, name):
    """`sly` is a view that writes: of a COMMIT behind it nothing is known."""
    server.query("CREATE OR REPLACE FUNCTION note() RETURNS int LANGUAGE sql AS 'INSERT INTO ids VALUES (99) RETURNING 1';"
                 " CREATE OR REPLACE VIEW sly AS SELECT note() AS id; GRANT SELECT ON sly TO PUBLIC")
    client = proxy.wire()
    client.query("BEGIN")
    assert not client.query(f"SELECT count(id) FROM {name}").errors
    pid = server.open_transaction()
    server.restart("kill9")
    wait_for(lambda: proxy.metric("holdfast_transactions_replayed_total", result="succeeded") == 1, 10, "it was run again")
    pid = server.open_transaction()
    server.freeze(pid)
    client.send(wire.query("COMMIT"))
    server.wait_until_sent(pid)
    server.restart("kill9_all")
    assert_lost(client.reply(deadline=20), LOST if name == "ids" else "08007")


def test_a_second_run_that_gives_less_in_an_open_segment_is_told_at_once(server, proxy):
    server.query("DROP TABLE IF EXISTS source; CREATE TABLE source AS SELECT generate_series(1, 10) AS id; GRANT ALL ON source TO PUBLIC")
    client = proxy.wire()
    client.query("BEGIN")
    client.send(wire.extended("SELECT id FROM source"), wire.FLUSH)
    assert len(client.receive_until("C").rows) == 10
    server.query("DELETE FROM source WHERE id = 10")
    server.restart("kill9_all")
    client.send(wire.SYNC)
    assert_lost(client.reply(deadline=15), LOST, "E")


@pytest.mark.versions
def test_a_long_message_goes_on_where_it_was_cut_behind_what_the_client_has_had(server, proxy):
    client = proxy.wire()
    client.query("BEGIN")
    client.send(wire.extended("SELECT 1"), wire.FLUSH)
    client.receive_until("C")
    pid = server.wait_until_running("SELECT 1")
    long = wire.bind(["x" * 300_000])
    server.freeze(pid)
    client.send(wire.parse("SELECT length($1::text)"), long[:150_000])
    server.wait_until_sent(pid)
    server.restart("kill9_all")
    wait_for(lambda: proxy.metric("holdfast_transactions_replayed_total", result="succeeded") == 1, 20, "it was run again")
    client.send(long[150_000:], wire.execute(), wire.SYNC)
    reply = client.reply(deadline=20)
    assert reply.rows == [("300000",)] and reply.status == "T", reply


@pytest.mark.parametrize("protocol", (wire.query, lambda sql: wire.parse(sql) + wire.bind() + wire.execute() + wire.SYNC),
                         ids=("simple", "extended"))
def test_a_read_that_has_fewer_rows_the_second_time_is_told_and_not_taken_for_whole(server, proxy, protocol):
    server.query("DROP TABLE IF EXISTS source; CREATE TABLE source AS SELECT id, repeat('x', 1000) AS filling FROM generate_series(1, 50000) id;"
                 " GRANT ALL ON source TO PUBLIC")
    client = proxy.wire()
    client.send(protocol("SELECT id, filling FROM source"))
    pid = server.wait_until_running("filling FROM source")
    wait_for(lambda: server.query("SELECT wait_event FROM pg_stat_activity WHERE pid = %s", (pid,)) == [("ClientWrite",)], 20,
             "nobody reads what it has to say")
    server.query("DELETE FROM source WHERE id > 10")
    server.restart("kill9_all")
    end = client.receive_until("E", deadline=30)
    assert end.messages[-1][0] == "E" and end.errors[-1].code == LOST and not end.tags
    assert client.reply().status == "I"
