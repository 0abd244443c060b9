"""Rows 1, 2 and 3: idle, logging in, and speaking while there is no server."""

import subprocess
import time

import psycopg
import pytest

from expectations import FAULTS, NO_UPSTREAM, assert_alive, inflict
from support import wire
from support.holdfast import Background
from support.waiting import wait_for


def current_pid(client):
    return int(client.value("SELECT pg_backend_pid()"))


@pytest.mark.versions
@pytest.mark.parametrize("fault", FAULTS)
def test_an_idle_session_sees_nothing_of_its_servers_death(server, proxy, fault):
    client = proxy.wire()
    first = current_pid(client)
    other = server.connect(user="other")  # is held while its backend is killed
    inflict(server, fault, other.info.backend_pid)
    assert current_pid(client) != first
    assert_alive(client)


@pytest.mark.fault_free
def test_psql_works_through_the_proxy(server, proxy):
    result = subprocess.run(["psql", proxy.dsn(), "-XAtc", "SELECT 6 * 7"], capture_output=True, text=True, timeout=20,
                            check=False)
    assert (result.stdout, result.stderr, result.returncode) == ("42\n", "", 0)


def test_an_idle_session_gets_a_backend_only_when_it_next_speaks(server, proxy):
    clients = [proxy.wire() for _ in range(20)]
    for client in clients:
        client.value("SELECT 1")
    server.restart("kill9")
    proxy.wait_for_state("connected")
    # The standing connection is one of the role's backends; nobody else has asked for one. The probe's is about to end.
    assert_alive(clients[0])
    wait_for(lambda: len(server.backends()) <= 2, 5, "two backends")
    for client in clients:
        assert_alive(client)


def test_an_idle_session_survives_ten_deaths_in_a_row(server, proxy):
    client = proxy.wire()
    client.query("SET search_path = extra")
    for _ in range(10):
        server.restart("kill9_all")
        assert client.value("SHOW search_path") == "extra"


def test_a_login_waits_for_the_server(server, proxy):
    server.kill9()
    login = Background(proxy.connect)
    proxy.wait_for_state("reconnecting", "failed")
    assert not login.is_done
    server.start()
    assert login.result().execute("SELECT 1").fetchone() == (1,)


def test_a_login_is_told_57p03_after_hold_timeout(server, start_holdfast):
    proxy = start_holdfast(server, connection={"reconnect": {"hold_timeout": "1s"}})
    server.kill9()
    started = time.monotonic()
    with pytest.raises(psycopg.OperationalError) as caught:
        proxy.connect()
    assert 0.8 < time.monotonic() - started < 5
    assert "FATAL" in str(caught.value)
    raw = proxy.wire(login=False)
    raw.send(wire.startup())
    error = raw.rest().error
    assert (error.severity, error.code) == ("FATAL", NO_UPSTREAM)
    assert proxy.id in error.text


@pytest.mark.fault_free
def test_the_servers_refusal_of_a_login_comes_at_once(server, proxy):
    started = time.monotonic()
    with pytest.raises(psycopg.OperationalError) as caught:
        proxy.connect(user="refused_user")
    assert "pg_hba.conf" in str(caught.value)
    with pytest.raises(psycopg.OperationalError) as caught:
        proxy.connect(dbname="no_such_database")
    assert "no_such_database" in str(caught.value)
    assert time.monotonic() - started < 3


def test_a_statement_waits_for_the_server_and_is_served_when_it_accepts(server, proxy):
    client = proxy.wire()
    client.value("SELECT 1")
    server.kill9()
    statement = Background(client.query, "INSERT INTO ids VALUES (1) RETURNING id", 30)
    wait_for(lambda: proxy.state()["sessions"]["waiting"] == 1, 10, "the session waits")
    assert not statement.is_done
    server.start()
    accepting = time.monotonic()
    assert statement.result().rows == [("1",)]
    # Well under the first backoff of 5 s: the probe ends the wait. bench/ measures how soon.
    assert statement.started + statement.seconds - accepting < 1.5
    assert server.query("SELECT count(*) FROM ids") == [(1,)]


def test_a_statement_is_told_57p03_after_hold_timeout_and_the_session_lives(server, start_holdfast):
    proxy = start_holdfast(server, connection={"reconnect": {"hold_timeout": "1s"}})
    client = proxy.wire()
    client.query("SET search_path = extra")
    server.kill9()
    for send in (lambda: client.query("SELECT 1"), lambda: client.run(wire.extended("SELECT 1"))):
        started = time.monotonic()
        reply = send()
        assert 0.8 < time.monotonic() - started < 4
        assert reply.error.code == NO_UPSTREAM and reply.error.severity == "ERROR" and reply.status == "I", reply
    assert proxy.id in reply.error.text
    server.start()
    proxy.wait_for_state("connected")
    assert client.value("SHOW search_path") == "extra"
    assert_alive(client)


def test_an_open_breaker_answers_at_once_and_closes_when_the_server_is_back(server, start_holdfast):
    proxy = start_holdfast(server, connection={"reconnect": {"retry_delay": "20ms", "max_retries": 2, "jitter": 0}})
    client = proxy.wire()
    client.value("SELECT 1")
    server.kill9()
    proxy.wait_for_state("failed")
    assert proxy.state()["breaker"] == "open"
    assert proxy.admin("/readyz")[0] == 503
    started = time.monotonic()
    reply = client.query("SELECT 1")
    assert time.monotonic() - started < 1
    assert reply.error.code == NO_UPSTREAM and reply.status == "I", reply
    assert proxy.id in reply.error.text and "refused" in reply.error.everything
    server.start()
    proxy.wait_for_state("connected")
    assert_alive(client)
    assert proxy.admin("/readyz")[0] == 200


def test_the_log_and_the_admin_port_tell_of_an_outage(server, proxy):
    client = proxy.wire()
    client.value("SELECT 1")
    proxy.wait_for_log(r"connected to main with auto-reconnection enabled")
    server.kill9()
    proxy.wait_for_log(r"scheduling reconnection attempt 1/3 for main in \d+ms")
    state = proxy.wait_for_state("reconnecting") and proxy.state()
    assert state["isConnected"] is False and state["isReconnecting"] is True and state["lastError"]
    server.start()
    proxy.wait_for_log(r"reconnected to main after \d+ms")
    proxy.wait_for_state("connected")
    assert_alive(client)
    assert proxy.metric("holdfast_upstream_up", connection="main") == 1
    assert proxy.metric("holdfast_sessions_restored_total") >= 1
    assert proxy.metric("holdfast_outage_seconds_count") == 1
