"""What of a session's state depends on other parts of it, or is not seen by everybody: brought back all the same."""

import pytest

from expectations import ENDED
from support import wire
from support.waiting import wait_for


def say(client, *statements):
    for statement in statements:
        reply = client.query(statement)
        assert not reply.errors, reply


def settle(server, user="app"):
    """A snapshot was the last word of the session to its server."""
    rows = ("SELECT 1 FROM pg_stat_activity WHERE usename = %s AND state = 'idle' AND query LIKE 'SELECT ''setting''::%%'"
            " AND state_change < clock_timestamp() - interval '100 ms'")
    wait_for(lambda: server.query(rows, (user,)), 15, "a snapshot")


def test_a_setting_that_is_looked_for_on_the_search_path_finds_it(server, proxy):
    server.query("DROP TEXT SEARCH CONFIGURATION IF EXISTS extra.mine;"
                 " CREATE TEXT SEARCH CONFIGURATION extra.mine (COPY = pg_catalog.english)")
    client = proxy.wire()
    say(client, "SET search_path = extra, public", "SET default_text_search_config = 'mine'")
    server.restart("kill9_all")
    assert client.value("SHOW default_text_search_config") == "extra.mine"


@pytest.mark.versions
@pytest.mark.parametrize("limit", ("lock_timeout", "statement_timeout"))
@pytest.mark.parametrize("whose", ("session", "role"))
def test_a_time_limit_of_the_clients_statements_costs_none_that_is_prepared_again(server, proxy, limit, whose):
    """A prepared statement waits for a table that is locked just then."""
    if whose == "role":
        server.query(f"ALTER ROLE app SET {limit} = '300ms'")
    try:
        client = proxy.wire()
        say(client, "PREPARE looks AS SELECT count(*) FROM blocked")
        if whose == "session":
            say(client, f"SET {limit} = '300ms'")
        server.restart("kill9_all")
        with server.block():
            client.send(wire.query("SELECT 1"))
            server.wait_until_waiting("PREPARE looks")
            waiting = server.query("SELECT pid FROM pg_stat_activity WHERE query LIKE 'PREPARE looks%' AND wait_event_type = 'Lock'")
            if whose == "role":
                wait_for(lambda: server.query("SELECT pid FROM pg_stat_activity WHERE query LIKE 'PREPARE looks%'"
                                              " AND wait_event_type = 'Lock'") not in ([], waiting), 10, "another try")
        assert client.reply(deadline=20).rows == [("1",)]
        assert client.value("EXECUTE looks") == "0"
        assert client.value(f"SHOW {limit}") == "300ms"
    finally:
        server.query(f"ALTER ROLE app RESET {limit}")


def test_a_setting_that_only_the_role_may_make_is_made_as_the_role(server, proxy):
    server.query("DROP ROLE IF EXISTS boss; CREATE ROLE boss SUPERUSER; GRANT boss TO app")
    client = proxy.wire()
    say(client, "SET ROLE boss", "SET log_statement = 'ddl'")
    server.restart("kill9_all")
    assert client.value("SHOW log_statement") == "ddl"
    assert client.value("SELECT current_user") == "boss"


def test_a_setting_that_the_role_may_not_see_is_kept(server, proxy):
    client = proxy.wire(user="postgres")
    say(client, "SET dynamic_library_path = '/nowhere:$libdir'", "LOAD 'auto_explain'", "SET ROLE app")
    server.restart("kill9_all")
    say(client, "RESET ROLE")
    assert client.value("SHOW dynamic_library_path") == "/nowhere:$libdir"


@pytest.mark.parametrize("first, question, answer", (
    ("SELECT set_config('app.tenant', 'café', false)", "SELECT length(current_setting('app.tenant'))", "4"),
    ("PREPARE four AS SELECT 'café' LIKE 'caf_'", "EXECUTE four", "t"),
    ('LISTEN "café"', "SELECT length(c) FROM pg_listening_channels() AS c", "4"),
), ids=("setting", "prepared", "channel"))
def test_what_stands_in_another_encoding_than_the_sessions_is_brought_back_as_it_was(server, proxy, first, question, answer):
    client = proxy.wire()
    say(client, first, "SET client_encoding = 'LATIN1'")
    assert client.value(question) == answer, "the server itself says otherwise"
    server.restart("kill9_all")
    assert client.value(question) == answer


@pytest.mark.versions
@pytest.mark.parametrize("sql", ("SET LOCAL app.tenant = 'x'", "SELECT set_config('app.tenant', 'x', true)"))
@pytest.mark.parametrize("before", ("", "before"))
def test_a_custom_setting_that_ended_with_its_transaction_is_still_known(server, proxy, sql, before):
    client = proxy.wire()
    say(client, *([f"SET app.tenant = '{before}'"] if before else []), "BEGIN", sql, "COMMIT")
    if not before:
        settle(server)
    assert client.value("SHOW app.tenant") == before, "the server itself says otherwise"
    server.restart("kill9_all")
    assert client.value("SHOW app.tenant") == before


DO_THAT_CHANGES = {
    "role": ("SET ROLE tenant", "SELECT current_user", "tenant"),
    "setting": ("SET search_path = extra", "SHOW search_path", "extra"),
    "temporary_table": ("CREATE TEMP TABLE mine (id int)", "SELECT to_regclass('pg_temp.mine')", "mine"),
}


@pytest.mark.versions
@pytest.mark.parametrize("name", DO_THAT_CHANGES)
def test_what_a_do_in_single_quotes_has_set_is_never_missing_without_a_word(server, proxy, name):
    change, question, answer = DO_THAT_CHANGES[name]
    client = proxy.wire()
    say(client, "DO 'BEGIN NULL; END'")
    settle(server)  # another snapshot is not taken for a second
    client.send(wire.query("DO 'BEGIN NULL; END'"), wire.query(f"DO 'BEGIN {change}; END'"))
    assert not client.reply().errors and not client.reply().errors
    for pid in server.backends():
        server.terminate(pid)
    for _ in range(2):
        client.try_send(wire.query(question))
        reply = client.reply(deadline=20)
        if not reply.errors or reply.error.code != "57014":
            break  # else it was sent before the end of the backend was noticed, and is the operator's to end
    if reply.rows == [(answer,)]:
        return  # a snapshot came first, and it was restored
    assert reply.closed and reply.error.code == ENDED, reply


def test_a_library_loaded_among_other_statements_is_loaded_again(server, proxy):
    loaded = "SELECT count(*) > 0 FROM pg_settings WHERE name = 'auto_explain.log_min_duration'"
    client = proxy.wire(user="postgres")
    say(client, "LOAD 'auto_explain'; SELECT 1")
    settle(server, "postgres")
    server.restart("kill9_all")
    assert client.value(loaded) == "t"


@pytest.mark.parametrize("sql", ("SET seed = 0.5", "SELECT set_config('seed', '0.5', false)", "SET LOCAL seed TO 0.5; SELECT 1"))
def test_a_seed_that_was_set_as_a_setting_is_lost_as_one_of_setseed(server, proxy, sql):
    client = proxy.wire()
    say(client, sql)
    settle(server)
    server.restart("kill9_all")
    client.try_send(wire.query("SELECT random()"))
    reply = client.reply()
    assert reply.closed and reply.error.code == ENDED and "seed" in reply.error.text, reply


def test_a_session_that_calls_nothing_needs_no_catalog_of_functions(server, proxy):
    server.query("REVOKE SELECT ON pg_catalog.pg_proc FROM PUBLIC")
    try:
        client = proxy.wire()
        say(client, "SET ROLE tenant")
        server.restart("kill9_all")
        assert client.value("SELECT current_user") == "tenant"
    finally:
        server.query("GRANT SELECT ON pg_catalog.pg_proc TO PUBLIC")
