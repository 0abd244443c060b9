"""What of a session is restored on a new backend: settings, roles, prepared statements, libraries. Each through a real death."""

import pytest

from expectations import assert_alive
from support import wire
from support.waiting import wait_for

# (what the client says, what it asks afterwards, the answer)
STATEMENTS = {
    "set": (["SET search_path = extra"], "SHOW search_path", "extra"),
    "set_a_list": (["SET search_path TO \"$user\", extra, public"], "SHOW search_path", '"$user", extra, public'),
    "set_a_time_zone": (["SET TIME ZONE 'Asia/Tokyo'"], "SHOW TimeZone", "Asia/Tokyo"),
    "set_with_units": (["SET statement_timeout = '71s'"], "SHOW statement_timeout", "71s"),
    "set_session_characteristics": (["SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE"],
                                    "SHOW default_transaction_isolation", "serializable"),
    "set_session_characteristics_twice": (["SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
                                           "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE"],
                                          "SHOW default_transaction_read_only", "off"),
    "set_names": (["SET NAMES 'LATIN1'"], "SHOW client_encoding", "LATIN1"),
    "set_a_custom_setting": (["SET myapp.tenant = '42'"], "SELECT current_setting('myapp.tenant', true)", "42"),
    "set_config": (["SELECT set_config('search_path', 'extra, public', false)"], "SHOW search_path", "extra, public"),
    "set_config_of_a_custom_setting": (["SELECT set_config('myapp.tenant', '4' || '3', false)"],
                                       "SELECT current_setting('myapp.tenant', true)", "43"),
    "set_config_for_the_transaction_only": (["SELECT set_config('search_path', 'extra', true)"], "SHOW search_path",
                                            '"$user", public'),
    "set_in_a_committed_transaction": (["BEGIN", "SET search_path = extra", "COMMIT"], "SHOW search_path", "extra"),
    "set_in_a_rolled_back_transaction": (["SET search_path = public", "BEGIN", "SET search_path = extra", "ROLLBACK"],
                                         "SHOW search_path", "public"),
    "set_local": (["SET search_path = public", "BEGIN", "SET LOCAL search_path = extra", "COMMIT"], "SHOW search_path", "public"),
    "set_before_a_savepoint_rolled_back_to": (
        ["BEGIN", "SET work_mem = '5MB'", "SAVEPOINT s", "SET work_mem = '6MB'", "ROLLBACK TO s", "COMMIT"],
        "SHOW work_mem", "5MB"),
    "set_in_a_longer_text": (["SET work_mem = '5MB'; SELECT 1; SET work_mem = '7MB'"], "SHOW work_mem", "7MB"),
    "set_that_failed": (["SET work_mem = '5MB'", "SET work_mem = 'nonsense'"], "SHOW work_mem", "5MB"),
    "reset": (["SET search_path = extra", "RESET search_path"], "SHOW search_path", '"$user", public'),
    "reset_all": (["SET work_mem = '5MB'", "SET search_path = extra", "RESET ALL"], "SHOW search_path", '"$user", public'),
    "discard_all": (["SET work_mem = '5MB'", "SET search_path = extra", "DISCARD ALL"], "SHOW search_path", '"$user", public'),
    "set_role": (["SET ROLE tenant"], "SELECT current_user", "tenant"),
    "reset_role": (["SET ROLE tenant", "RESET ROLE"], "SELECT current_user", "app"),
    "a_setting_and_a_role": (["SET search_path = extra", "SET ROLE tenant"], "SELECT current_user || current_schemas(false)::text",
                             "tenant{extra}"),
}


@pytest.mark.versions
@pytest.mark.parametrize("name", STATEMENTS)
def test_a_session_keeps_what_it_set(server, proxy, name):
    statements, question, answer = STATEMENTS[name]
    client = proxy.wire()
    for statement in statements:
        client.query(statement)
    assert client.value(question) == answer, "the server itself says otherwise"
    server.restart("kill9_all")
    assert client.value(question) == answer


@pytest.mark.fault_free
def test_the_expected_answers_are_the_servers_own(server, proxy):
    for name, (statements, question, answer) in STATEMENTS.items():
        client = proxy.wire()
        for statement in statements:
            client.query(statement)
        assert client.value(question) == answer, name


def test_session_authorization_is_restored(server, proxy):
    client = proxy.wire(user="postgres")
    client.query("SET SESSION AUTHORIZATION app")
    client.query("SET ROLE tenant")
    question = "SELECT session_user || ' ' || current_user"
    assert client.value(question) == "app tenant"
    server.restart("kill9_all")
    assert client.value(question) == "app tenant"
    client.query("RESET SESSION AUTHORIZATION")
    assert client.value("SELECT session_user") == "postgres"


def test_a_prepared_statement_that_cannot_come_back_costs_nothing_but_itself(server, proxy):
    server.query("CREATE TABLE IF NOT EXISTS passing (id int); GRANT ALL ON passing TO PUBLIC")
    client = proxy.wire()
    for sql in ("PREPARE a AS SELECT * FROM passing", "PREPARE b AS SELECT 'still here'", "LISTEN news", "SET ROLE tenant"):
        assert not client.query(sql).errors
    server.query("DROP TABLE passing")
    server.restart("kill9_all")
    assert client.value("EXECUTE b") == "still here"
    assert client.value("SELECT current_user") == "tenant"
    assert client.query("EXECUTE a").error.code == "26000"
    server.query("NOTIFY news")
    assert not client.receive_until("A").closed


def test_a_superusers_setting_is_restored_before_its_role(server, proxy):
    client = proxy.wire(user="postgres")
    client.query("SET log_min_duration_statement = '77s'")
    client.query("SET ROLE app")
    server.restart("kill9_all")
    assert client.value("SELECT current_user") == "app"
    assert client.value("SHOW log_min_duration_statement") == "77s"


def test_the_startup_packets_settings_are_restored(server, proxy):
    client = proxy.wire(application_name="before the storm", options="-c search_path=extra -c myapp.tenant=9")
    server.restart("kill9_all")
    assert client.value("SHOW application_name") == "before the storm"
    assert client.value("SHOW search_path") == "extra"
    assert client.value("SELECT current_setting('myapp.tenant')") == "9"


def test_a_changed_application_name_is_restored_and_reported_once(server, proxy):
    client = proxy.wire(application_name="first")
    reply = client.query("SET application_name = 'second'")
    assert [body for kind, body in reply.messages if kind == "S"] == [b"application_name\0second\0"]
    server.restart("kill9_all")
    reply = client.query("SHOW application_name")
    assert reply.rows == [("second",)]
    assert not [body for kind, body in reply.messages if kind == "S" and body.startswith(b"application_name")]


@pytest.mark.versions
def test_protocol_level_prepared_statements_survive(server, proxy):
    client = proxy.wire()
    client.run(wire.parse("SELECT $1::int * 2", "double"), wire.parse("SELECT 'unnamed'"))
    server.restart("kill9_all")
    reply = client.run(wire.bind([21], "double"), wire.execute())
    assert reply.rows == [("42",)] and not reply.errors, reply
    # The unnamed one as well, where it was not replaced in between.
    client.run(wire.parse("SELECT 'unnamed again'"))
    server.restart("kill9_all")
    reply = client.run(wire.bind(), wire.execute())
    assert reply.rows == [("unnamed again",)], reply


def test_restoring_does_not_make_the_server_answer_parse_twice(server, proxy):
    client = proxy.wire()
    client.run(wire.parse("SELECT 1", "one"))
    server.restart("kill9_all")
    reply = client.run(wire.bind((), "one"), wire.describe(), wire.execute())
    assert reply.kinds == "2TDCZ", reply
    reply = client.run(wire.parse("SELECT 2", "one"))
    assert reply.error.code == "42P05", reply
    reply = client.run(wire.message("C", b"S", wire.text("one")), wire.parse("SELECT 2", "one"), wire.bind((), "one"), wire.execute())
    assert reply.kinds == "312DCZ" and reply.rows == [("2",)], reply


def test_a_closed_prepared_statement_stays_closed(server, proxy):
    client = proxy.wire()
    client.run(wire.parse("SELECT 1", "one"), wire.parse("SELECT 2", "two"))
    client.run(wire.message("C", b"S", wire.text("one")))
    client.query("DEALLOCATE two")
    server.restart("kill9_all")
    for name in ("one", "two"):
        assert client.run(wire.bind((), name), wire.execute()).error.code == "26000", name
    assert_alive(client)


def test_a_prepared_statement_that_no_longer_parses_shows_its_error_when_it_is_used(server, proxy):
    server.query("CREATE TABLE IF NOT EXISTS going (id int); GRANT ALL ON going TO PUBLIC")
    client = proxy.wire()
    client.run(wire.parse("SELECT id FROM going", "going"), wire.parse("SELECT 'stays'", "stays"))
    server.query("DROP TABLE going")
    server.restart("kill9_all")
    assert client.run(wire.bind((), "stays"), wire.execute()).rows == [("stays",)]
    reply = client.run(wire.bind((), "going"), wire.execute())
    assert reply.error.code == "42P01" and reply.status == "I", reply
    assert_alive(client)


@pytest.mark.versions
def test_sql_level_prepared_statements_survive(server, proxy):
    client = proxy.wire()
    client.query("PREPARE double (int) AS SELECT $1 * 2")
    client.query("PREPARE gone AS SELECT 1")
    client.query("DEALLOCATE gone")
    server.restart("kill9_all")
    assert client.value("EXECUTE double(21)") == "42"
    assert client.query("EXECUTE gone").error.code == "26000"


@pytest.mark.parametrize("statement", ("DISCARD ALL", "DEALLOCATE ALL"))
def test_discard_and_deallocate_all_are_not_undone_by_a_death(server, proxy, statement):
    client = proxy.wire()
    client.query("PREPARE double (int) AS SELECT $1 * 2")
    client.run(wire.parse("SELECT 1", "one"))
    client.query(statement)
    server.restart("kill9_all")
    assert client.query("EXECUTE double(21)").error.code == "26000"
    assert client.run(wire.bind((), "one"), wire.execute()).error.code == "26000"
    assert_alive(client)


def test_psycopgs_own_prepared_statements_survive(server, proxy):
    connection = proxy.connect()
    for round_ in range(3):
        for _ in range(4):
            assert connection.execute("SELECT %s::int + 1", (round_,), prepare=True).fetchone() == (round_ + 1,)
        server.restart("kill9_all")


def test_load_is_restored(server, proxy):
    client = proxy.wire(user="postgres")
    assert not client.query("LOAD 'auto_explain'").errors
    client.query("SET auto_explain.log_min_duration = '88s'")
    server.restart("kill9_all")
    assert client.value("SHOW auto_explain.log_min_duration") == "88s"


def test_a_setting_that_the_new_server_refuses_ends_the_session_and_names_it(server, proxy):
    client = proxy.wire()
    server.query("GRANT tenant TO other")
    client.query("SET ROLE tenant")
    server.query("REVOKE tenant FROM app")
    try:
        server.restart("kill9_all")
        client.try_send(wire.query("SELECT 1"))
        error = client.rest().error
        assert (error.severity, error.code) == ("FATAL", "57P01") and "tenant" in error.everything, error
        assert "terminating connection" in error.text
    finally:
        server.query("GRANT tenant TO app")


def test_statements_of_ours_do_not_disturb_the_clients_unnamed_statement(server, proxy):
    # A snapshot of the settings is asked between the client's messages; its unnamed statement must outlive that.
    client = proxy.wire()
    client.run(wire.parse("SELECT 'mine'"))
    client.run(wire.parse("SELECT set_config('myapp.tenant', '4' || '2', false)", "s"), wire.bind((), "s", "p"), wire.execute("p"))
    reply = client.run(wire.bind(), wire.execute())
    assert reply.rows == [("mine",)], reply
    assert client.value("SELECT count(*) FROM pg_prepared_statements WHERE name NOT LIKE '%holdfast%'") == "1"


def test_a_setting_changed_by_a_function_is_restored_or_the_session_ends_never_silently_lost(server, proxy):
    server.query("CREATE OR REPLACE FUNCTION sets_something() RETURNS void LANGUAGE plpgsql AS"
                 " $$ BEGIN PERFORM set_config('search_path', 'extra', false); END $$")
    client = proxy.wire()
    client.query("SELECT sets_something()")
    server.restart("kill9_all")
    client.try_send(wire.query("SHOW search_path"))
    reply = client.reply(deadline=20)
    if reply.closed:
        assert reply.errors[-1].code == "57P01" and "terminating connection" in reply.errors[-1].text, reply
    else:
        assert reply.rows == [("extra",)], reply


def test_many_sessions_each_keep_their_own(server, proxy):
    clients = [proxy.wire() for _ in range(30)]
    for number, client in enumerate(clients):
        client.query(f"SET myapp.tenant = '{number}'")
        client.run(wire.parse(f"SELECT {number}", "mine"))
    server.restart("kill9_all")
    for client in clients:
        client.send(wire.query("SELECT current_setting('myapp.tenant')"), wire.bind((), "mine"), wire.execute(), wire.SYNC)
    for number, client in enumerate(clients):
        assert client.reply(deadline=20).rows == [(str(number),)]
        assert client.reply(deadline=20).rows == [(str(number),)]
    wait_for(lambda: proxy.metric("holdfast_sessions_restored_total") >= 30, 5)
