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
