"""Statements prepared by the protocol that SQL is about too, or whose texts the next server would read otherwise."""

import pytest

from expectations import assert_alive
from support import wire
from support.waiting import wait_for


def run(client, name):
    return client.run(wire.bind((), name), wire.execute())


@pytest.mark.versions
@pytest.mark.parametrize("sql", ("EXECUTE one", "DEALLOCATE one"))
@pytest.mark.parametrize("named", ("", "again"))
def test_sql_in_the_extended_protocol_finds_a_statement_of_the_protocol(server, proxy, sql, named):
    client = proxy.wire()
    client.run(wire.parse("SELECT 1", "one"))
    if named:
        client.run(wire.parse(sql, named))
    server.restart("kill9_all")
    reply = client.run(b"" if named else wire.parse(sql), wire.bind((), named), wire.execute())
    assert not reply.errors, reply
    assert reply.rows == ([("1",)] if sql.startswith("EXECUTE") else []), reply


def test_a_statement_that_can_be_prepared_no_more_fails_no_transaction_that_executes_another(server, proxy):
    server.query("DROP TABLE IF EXISTS doomed; CREATE TABLE doomed (id int); GRANT ALL ON doomed TO PUBLIC")
    client = proxy.wire()
    client.run(wire.parse("SELECT * FROM doomed", "doomed"), wire.parse("INSERT INTO ids VALUES (1) RETURNING 'fine'", "fine"))
    server.query("DROP TABLE doomed")
    server.restart("kill9_all")
    for block in ("BEGIN", None):
        if block:
            client.query(block)
        reply = client.query("EXECUTE fine")
        assert reply.rows == [("fine",)], reply
    assert client.query("EXECUTE doomed").error.code == "42P01"
    client.query("ROLLBACK")
    assert_alive(client)


def test_a_deallocate_among_other_statements_is_not_undone_by_a_death(server, proxy):
    client = proxy.wire()
    client.run(wire.parse("SELECT 'one'", "one"), wire.parse("SELECT 'two'", "two"), wire.parse("SELECT 'three'", "three"))
    assert client.query("SELECT 1; DEALLOCATE one; DEALLOCATE PREPARE two; SELECT 1 / 0; DEALLOCATE three").error.code == "22012"
    settled = ("SELECT 1 FROM pg_stat_activity WHERE usename = 'app' AND state = 'idle' AND query LIKE 'SELECT ''setting''::%'"
               " AND state_change < clock_timestamp() - interval '100 ms'")
    wait_for(lambda: server.query(settled), 15, "a snapshot")
    server.restart("kill9_all")
    assert run(client, "one").error.code == "26000"
    assert not client.run(wire.parse("SELECT 2", "two")).errors, "the name is free"
    assert run(client, "three").rows == [("three",)]


@pytest.mark.parametrize("text, change", ((r"SELECT length('a\\b')", "SET standard_conforming_strings = off"),
                                          ("SELECT length('café')", "SET client_encoding = 'LATIN1'")))
def test_a_text_that_the_session_would_read_otherwise_by_now_is_not_prepared_again(server, proxy, text, change):
    client = proxy.wire()
    client.run(wire.parse(text, "one"), wire.parse("SELECT 'plain'", "plain"))
    assert not client.query(change).errors
    assert run(client, "one").rows == [("4",)]
    server.restart("kill9_all")
    assert run(client, "plain").rows == [("plain",)]
    assert run(client, "one").error.code == "26000", "no other answer than before"
    assert not client.run(wire.parse("SELECT 2", "one")).errors
