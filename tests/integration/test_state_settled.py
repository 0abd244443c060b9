"""What a session holds by statements whose text does not show it, once a snapshot has settled them: restored, or the session ends."""

import struct

import pytest

from support import wire
from support.waiting import wait_for

FUNCTIONS = """
CREATE OR REPLACE FUNCTION become(tenant text) RETURNS void LANGUAGE plpgsql AS
  $$ BEGIN /* 漢字: not in every client's encoding */ PERFORM set_config('myapp.tenant', tenant, false); END $$;
CREATE OR REPLACE FUNCTION log_in(tenant text) RETURNS void LANGUAGE sql AS $$ SELECT become(tenant) $$;
CREATE OR REPLACE FUNCTION put(key text, value text) RETURNS void LANGUAGE plpgsql AS
  $$ BEGIN PERFORM set_config('myapp.' || key, value, false); END $$;
CREATE OR REPLACE FUNCTION run(statement text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE statement; END $$;
"""
TENANT = "SELECT current_setting('myapp.tenant', true)"
LOCKS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"


def extended(sql, *values, rows=0):
    return wire.parse(sql) + wire.bind(values) + wire.execute(rows=rows) + wire.SYNC


def fast_path(oid, argument):
    return wire.message("F", struct.pack("!IHHHi", oid, 1, 1, 1, 8), struct.pack("!q", argument), struct.pack("!H", 1))


# (what the client says, what it asks afterwards, the answer)
RESTORED = {
    "set_config_of_parameters": ([extended("SELECT set_config($1, $2, false)", "myapp.tenant", "42")], TENANT, "42"),
    "set_config_in_a_function": (["SELECT become('42')"], TENANT, "42"),
    "set_config_in_a_function_that_the_client_could_not_read": (["SET client_encoding = 'LATIN1'", "SELECT become('42')"], TENANT, "42"),
    "set_config_in_a_function_of_a_function": (["SELECT log_in('42')"], TENANT, "42"),
    "set_config_in_a_function_that_a_do_calls": (["DO 'BEGIN PERFORM log_in(''42''); END'"], TENANT, "42"),
    "dynamic_set": (["SELECT run('SET myapp.tenant = 42')"], TENANT, "42"),
    "set_config_of_which_one_row_was_asked_for": ([extended("SELECT set_config('work_mem', '7MB', false)", rows=1)],
                                                  "SHOW work_mem", "7MB"),
    "prepared_set_config": (["PREPARE p AS SELECT set_config('work_mem', $1, false)", "EXECUTE p('7MB')"], "SHOW work_mem", "7MB"),
    "prepared_set_config_of_any_name": (["PREPARE p AS SELECT set_config($1, $2, false)", "EXECUTE p('myapp.tenant', '42')"],
                                        TENANT, "42"),
    "role_none_of_a_login_with_a_role": (["SET ROLE NONE"], "SELECT current_user", "app"),
    "prepare_then_deallocate_among_others": (["PREPARE p AS SELECT 1", "SELECT 1; DEALLOCATE p"],
                                             "SELECT count(*) FROM pg_prepared_statements WHERE from_sql", "0"),
}
# (what the client says, what it has then, how much of it)
HELD = {
    "computed_name": (["SELECT set_config('myapp.' || 'tenant', '42', false)"], TENANT, "42"),
    "computed_name_in_a_function": (["SELECT put('tenant', '42')"], TENANT, "42"),
    "computed_name_in_a_do": (["DO 'BEGIN PERFORM set_config(''myapp.'' || ''tenant'', ''42'', false); END'"], TENANT, "42"),
    "computed_name_in_a_function_that_a_do_calls": (["DO 'BEGIN PERFORM put(''tenant'', ''42''); END'"], TENANT, "42"),
    "lock_of_which_one_row_was_asked_for": ([extended("SELECT pg_advisory_lock(4711)", rows=1)], LOCKS, "1"),
    "prepared_lock": (["PREPARE p AS SELECT pg_advisory_lock(4711)", "SELECT become('1')", "EXECUTE p"], LOCKS, "1"),
    "prepared_lock_by_bind": (["PREPARE p AS SELECT pg_advisory_lock(4711)", wire.bind((), "p") + wire.execute() + wire.SYNC],
                              LOCKS, "1"),
    "fast_path_lock": ([fast_path(2880, 4711)], LOCKS, "1"),
    "temporary_function": (["CREATE FUNCTION pg_temp.f() RETURNS text LANGUAGE sql AS $$ SELECT 'f' $$"], "SELECT pg_temp.f()", "f"),
    "temporary_type": (["CREATE TYPE pg_temp.kind AS ENUM ('f')"], "SELECT 'f'::pg_temp.kind", "f"),
    "prepare_among_others": (["SELECT 1; PREPARE p AS SELECT 'here'"], "EXECUTE p", "here"),
}


def say(client, statements):
    for statement in statements:
        client.send(statement if isinstance(statement, bytes) else wire.query(statement))
        reply = client.reply()
        assert not reply.errors, reply


def settle(server):
    """The last word of the session to its server was a snapshot, and no other followed it at once."""
    rows = ("SELECT 1 FROM pg_stat_activity WHERE usename = 'app' AND state = 'idle' AND query LIKE 'SELECT ''setting''::%'"
            " AND state_change < clock_timestamp() - interval '100 ms'")
    wait_for(lambda: server.query(rows), 15, "a snapshot")


@pytest.fixture
def prepared_server(server):
    server.query(FUNCTIONS)
    server.query("ALTER ROLE app SET role = 'tenant'; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO PUBLIC")
    yield server
    server.query("ALTER ROLE app RESET role")


@pytest.mark.versions
@pytest.mark.parametrize("name", RESTORED)
def test_what_a_snapshot_has_settled_is_restored(prepared_server, proxy, name):
    statements, question, answer = RESTORED[name]
    client = proxy.wire()
    say(client, statements)
    assert client.value(question) == answer, "the server itself says otherwise"
    say(client, ["SELECT become('0')"] if question is not TENANT else [])
    settle(prepared_server)
    prepared_server.restart("kill9_all")
    assert client.value(question) == answer


@pytest.mark.versions
@pytest.mark.parametrize("name", HELD)
def test_what_a_snapshot_has_settled_and_no_backend_can_have_ends_the_session(prepared_server, proxy, name):
    statements, question, answer = HELD[name]
    client = proxy.wire()
    say(client, ["SET ROLE NONE"])
    say(client, statements)
    settle(prepared_server)
    assert client.value(question) == answer, "the server itself says otherwise"
    prepared_server.restart("kill9_all")
    client.try_send(wire.query(question))
    reply = client.reply()
    assert reply.closed and reply.error.code == "57P01", reply


def test_a_prepared_set_config_is_prepared_again(server, proxy):
    client = proxy.wire()
    say(client, ["PREPARE p AS SELECT set_config('work_mem', $1, false)"])
    server.restart("kill9_all")
    say(client, ["EXECUTE p('7MB')"])


def test_a_function_that_the_client_could_not_read_is_judged(server, proxy):
    server.query("CREATE OR REPLACE FUNCTION harmless() RETURNS text LANGUAGE sql AS $$ SELECT /* 漢字 */ 'x' $$")
    client = proxy.wire(client_encoding="LATIN1")
    say(client, ["SELECT harmless()"])
    server.restart("kill9_all")  # no snapshot has settled it
    assert client.value("SELECT harmless()") == "x"


def test_a_catalog_that_cannot_be_read_ends_the_session_and_not_after_a_long_time(server, proxy):
    server.query("CREATE OR REPLACE FUNCTION harmless() RETURNS text LANGUAGE sql AS $$ SELECT 'x' $$")
    client = proxy.wire()
    say(client, ["SELECT harmless()"])
    server.query("REVOKE SELECT ON pg_catalog.pg_proc FROM PUBLIC")
    try:
        server.restart("kill9_all")
        client.try_send(wire.query("SELECT harmless()"))
        reply = client.reply(deadline=20)
        assert reply.closed and reply.error.code == "57P01", reply
    finally:
        server.query("GRANT SELECT ON pg_catalog.pg_proc TO PUBLIC")


@pytest.mark.versions
def test_a_bind_longer_than_the_buffer_finds_its_statement(server, proxy):
    client = proxy.wire()
    client.run(wire.parse("SELECT length($1::text)", "long"))
    server.restart("kill9_all")
    reply = client.run(wire.bind(["x" * 100_000], "long"), wire.execute())
    assert reply.rows == [("100000",)], reply


def test_what_only_the_role_may_see_is_prepared_again(server, proxy):
    server.query("""DROP ROLE IF EXISTS visitor; CREATE ROLE visitor LOGIN NOINHERIT; GRANT tenant TO visitor;
                    CREATE SCHEMA IF NOT EXISTS secret; CREATE TABLE IF NOT EXISTS secret.word (word text);
                    GRANT USAGE ON SCHEMA secret TO tenant; GRANT SELECT ON secret.word TO tenant""")
    client = proxy.wire(user="visitor")
    say(client, ["PREPARE early AS SELECT 'early'", "SET ROLE tenant", "PREPARE late AS SELECT count(*) FROM secret.word"])
    server.restart("kill9_all")
    assert client.value("EXECUTE late") == "0"
    assert client.value("EXECUTE early") == "early"


def test_a_setting_is_restored_in_the_encoding_that_it_was_written_in(server, proxy):
    client = proxy.wire(client_encoding="LATIN1")
    say(client, ["SET client_encoding = 'UTF8'", "SET app.tenant = 'café'"])
    server.restart("kill9_all")
    assert client.value("SELECT current_setting('app.tenant')") == "café"
