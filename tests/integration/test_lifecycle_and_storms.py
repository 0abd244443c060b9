"""SIGTERM, many sessions at once, several hosts: what an operator does, and what a failover does."""

import signal
import threading
import time

import psycopg
import pytest

from expectations import LOST, UNKNOWN, assert_alive, assert_lost
from support import wire
from support.holdfast import Background
from support.postgres import PostgresServer
from support.relay import Relay
from support.waiting import wait_for


# SIGTERM and SIGINT.

@pytest.mark.parametrize("number", (signal.SIGTERM, signal.SIGINT))
def test_without_clients_it_ends_at_once_with_0(server, proxy, number):
    started = time.monotonic()
    proxy.process.send_signal(number)
    assert proxy.process.wait(timeout=5) == 0
    assert time.monotonic() - started < 2


def test_sigterm_serves_its_sessions_until_the_last_has_gone(server, start_holdfast):
    proxy = start_holdfast(server, top={"drain_timeout": "20s"})
    client = proxy.wire()
    assert proxy.admin("/readyz")[0] == 200
    proxy.process.send_signal(signal.SIGTERM)
    wait_for(lambda: proxy.admin("/readyz")[0] == 503, 5, "not ready any more")
    assert_alive(client)
    assert proxy.is_running
    client.close()
    assert proxy.process.wait(timeout=5) == 0


def test_sigterm_ends_those_who_stay_with_57P01_after_drain_timeout(server, start_holdfast):
    proxy = start_holdfast(server, top={"drain_timeout": "1s"})
    client = proxy.wire()
    started = time.monotonic()
    proxy.process.send_signal(signal.SIGTERM)
    error = client.rest(deadline=10).error
    assert (error.severity, error.code) == ("FATAL", "57P01") and "terminating connection" in error.text
    assert 0.8 < time.monotonic() - started < 4
    assert proxy.process.wait(timeout=5) == 0


def test_a_second_signal_ends_it_at_once(server, start_holdfast):
    proxy = start_holdfast(server, top={"drain_timeout": "60s"})
    proxy.wire()
    proxy.process.send_signal(signal.SIGTERM)
    wait_for(lambda: proxy.admin("/readyz")[0] == 503, 5, "it drains")
    proxy.process.send_signal(signal.SIGTERM)
    proxy.process.wait(timeout=3)
    proxy.expect_exit(proxy.process.returncode)


# Counting.

def test_each_counted_attempt_that_fails_is_counted_once(server, start_holdfast):
    proxy = start_holdfast(server, connection={"reconnect": {"retry_delay": "100ms", "max_retries": 3, "connection_timeout": "1s"}})
    server.kill9()
    proxy.wait_for_state("failed")
    attempts = "holdfast_reconnect_attempts_total"
    assert proxy.metric(attempts, result="failed") == 3
    server.start()
    proxy.wait_for_state("connected")
    assert (proxy.metric(attempts, result="failed"), proxy.metric(attempts, result="succeeded")) == (3, 1)


# A pause.

def test_a_pause_holds_every_clients_next_statement_outside_a_transaction(server, proxy):
    idle, cancelled, open_ = proxy.wire(), proxy.wire(), proxy.wire()
    open_.query("BEGIN")
    assert proxy.admin("/api/v1/connections/main/pause", {})[0] == 200
    proxy.wait_for_state("paused")
    proxy.wait_for_log("main is paused")
    idle.send(wire.query("SELECT 'held'"))
    cancelled.send(wire.query("SELECT 'never'"))
    wait_for(lambda: proxy.state()["sessions"]["waiting"] == 2, 10, "both are held")
    assert open_.query("SELECT 'on'").rows == [("on",)]
    assert open_.query("COMMIT").tags == ["COMMIT"]
    open_.send(wire.query("SELECT 'held too'"))
    wait_for(lambda: proxy.state()["sessions"]["waiting"] == 3, 10, "all are held")
    cancelled.cancel()
    assert cancelled.reply().error.code == "57014"
    assert proxy.admin("/api/v1/connections/main/resume", {})[0] == 200
    assert idle.reply().rows == [("held",)] and open_.reply().rows == [("held too",)]
    for each in (idle, cancelled, open_):
        assert_alive(each)


def test_a_client_that_ends_leaves_no_backend_behind(server, proxy):
    before = len(server.backends())
    for _ in range(5):
        client = proxy.wire()
        client.value("SELECT 1")
        client.close()
    wait_for(lambda: len(server.backends()) <= before, 10, "the backends are gone")


# Storms.

def test_200_sessions_come_back_through_a_limited_number_of_logins(server, start_holdfast):
    server.set(max_connections="260")
    server.restart("fast")
    proxy = start_holdfast(server, connection={"reconnect": {"concurrency": 4}})
    clients = [proxy.wire() for _ in range(200)]
    for number, client in enumerate(clients):
        client.query(f"SET myapp.tenant = '{number}'")
    server.kill9()
    for client in clients:
        client.send(wire.query("SELECT current_setting('myapp.tenant')"))
    wait_for(lambda: proxy.state()["sessions"]["waiting"] == 200, 20, "all of them wait")
    server.start()
    for number, client in enumerate(clients):
        assert client.reply(deadline=30).rows == [(str(number),)]
    assert proxy.state()["state"] == "connected"
    assert proxy.disconnections() == 0
    server.set(max_connections="100")
    server.restart("fast")


def test_a_server_with_too_few_connections_is_waited_for(server, start_holdfast):
    proxy = start_holdfast(server, connection={"reconnect": {"hold_timeout": "2s"}})
    server.query("ALTER ROLE app CONNECTION LIMIT 4")
    try:
        clients = [proxy.wire() for _ in range(2)]
        for client in clients:
            assert_alive(client)
        server.restart("kill9_all")
        # The probe and the standing connection take the role's connections for a moment, too.
        others = [wait_for(lambda: psycopg.connect(server.dsn("app")), 10, "a connection of another's") for _ in range(3)]
        started = Background(clients[0].query, "SELECT 'served'", 20)
        for other in others:
            other.close()
        assert started.result().rows == [("served",)]
        assert "all reconnection attempts failed" not in proxy.log()
    finally:
        server.query("ALTER ROLE app CONNECTION LIMIT -1")


# The history: nothing acknowledged is lost, nothing is there twice.

@pytest.mark.timeout(90)
def test_under_many_deaths_no_acknowledged_write_is_lost_and_none_happens_twice(server, proxy):
    """Writers insert unique ids, in autocommit and in transactions, and do what the documented errors tell them to do."""
    server.query("CREATE TABLE IF NOT EXISTS history (id bigint, part int); TRUNCATE history; GRANT ALL ON history TO PUBLIC")
    over = threading.Event()
    acknowledged, problems, codes = set(), [], {}
    lock = threading.Lock()

    def write(connection, number, style):
        if style == "autocommit":
            connection.execute("INSERT INTO history VALUES (%s, 1), (%s, 2)", (number, number))
            return
        with connection.transaction():
            connection.execute("INSERT INTO history VALUES (%s, 1)", (number,))
            connection.execute("INSERT INTO history VALUES (%s, 2)", (number,))

    def is_there(connection, number):
        while True:
            try:
                return connection.execute("SELECT count(*) FROM history WHERE id = %s", (number,)).fetchone()[0] > 0
            except psycopg.Error as error:
                if error.sqlstate not in (LOST, "57P03"):
                    raise

    def writer(worker):
        try:
            connection = proxy.connect()
            number = worker * 1_000_000
            while not over.is_set():
                number += 1
                style = "autocommit" if number % 2 else "transaction"
                while True:
                    try:
                        write(connection, number, style)
                        acknowledged.add(number)
                        break
                    except psycopg.Error as error:
                        assert not connection.closed, f"disconnected: {error}"
                        with lock:
                            codes[error.sqlstate] = codes.get(error.sqlstate, 0) + 1
                        if error.sqlstate == UNKNOWN:
                            if is_there(connection, number):
                                acknowledged.add(number)
                                break
                        elif error.sqlstate not in (LOST, "57P03"):
                            raise
        except Exception as error:  # pylint: disable=broad-except
            problems.append(f"writer {worker}: {error!r}")

    threads = [threading.Thread(target=writer, args=(worker,), daemon=True) for worker in range(4)]
    for thread in threads:
        thread.start()
    for how in ("kill9", "kill9_all", "immediate", "fast", "kill9", "kill9_all"):
        before = len(acknowledged)
        wait_for(lambda: len(acknowledged) > before + 20 or problems, 30, "writes go on")
        if problems:
            break
        server.restart(how)
    before = len(acknowledged)
    wait_for(lambda: len(acknowledged) > before + 20 or problems, 30, "writes go on after the last death")
    over.set()
    for thread in threads:
        thread.join(30)
    assert not problems, problems
    rows = dict(server.query("SELECT id, array_agg(part ORDER BY part) FROM history GROUP BY id"))
    lost = [number for number in acknowledged if number not in rows]
    doubled = [number for number, parts in rows.items() if parts != [1, 2]]
    assert not lost and not doubled, (lost[:10], doubled[:10], codes)
    assert not set(rows) - acknowledged, "a write is there that nobody was told of"
    # A death may come while the second run is under way: then it is not run a third time.
    assert codes.get(LOST, 0) <= proxy.log().count("is not run again: second_loss"), codes


# Several hosts.

@pytest.fixture(scope="module")
def pair(server_version):
    """A primary and a standby that follows it."""
    primary = PostgresServer(server_version)
    primary.start()
    primary.prepare()
    standby = primary.make_standby()
    yield primary, standby
    standby.close()
    primary.close()


@pytest.mark.versions
def test_after_a_failover_the_sessions_are_on_the_new_primary(pair, start_holdfast):
    primary, standby = pair
    proxy = start_holdfast(f"postgres://app@127.0.0.1:{standby.port},127.0.0.1:{primary.port}/app"
                           "?sslmode=disable&target_session_attrs=read-write")
    client, busy, open_ = proxy.wire(), proxy.wire(), proxy.wire()
    client.query("SET search_path = extra")
    client.run(wire.parse("SELECT $1::int + 1", "increment"))
    assert client.value("SHOW port") == str(primary.port), "it passes the standby by"
    assert proxy.state()["upstream"].endswith(str(primary.port))
    wait_for(lambda: {one["role"] for one in proxy.state()["endpoints"]} == {"primary", "standby"}, 10, "the roles are known")
    open_.query("BEGIN")
    open_.query("INSERT INTO ids VALUES (5)")
    with primary.block():
        busy.send(wire.query("INSERT INTO blocked VALUES (1)"))
        primary.wait_until_waiting("INSERT INTO blocked")
        primary.kill9()
    standby.promote()
    assert client.value("SHOW port") == str(standby.port)
    assert client.value("SHOW search_path") == "extra"
    assert client.run(wire.bind([41], "increment"), wire.execute()).rows == [("42",)]
    assert_lost(busy.reply(deadline=20), UNKNOWN)
    assert open_.query("SELECT id FROM ids").rows == [("5",)], "its transaction was run again on the new primary"
    open_.query("ROLLBACK")
    for each in (client, busy, open_):
        assert each.query("INSERT INTO public.ids VALUES (6)").tags == ["INSERT 0 1"]
    wait_for(lambda: proxy.state()["upstream"].endswith(str(standby.port)), 10)


def test_a_client_that_leaves_while_its_session_is_restored_leaves_no_backend_behind(server, proxy):
    client = proxy.wire()
    assert not client.query("PREPARE p AS SELECT * FROM blocked").errors
    server.restart("kill9_all")
    proxy.wait_for_state("connected")
    with server.block():
        client.send(wire.query("SELECT 1"))
        backend = server.wait_until_waiting("PREPARE p")
        client.close()
        wait_for(lambda: proxy.metric("holdfast_client_disconnections_total") == 1, 10, "the session has ended")
    wait_for(lambda: backend not in server.backends(), 10, "its backend has ended")


def test_another_cluster_behind_the_same_address_ends_the_session_with_the_reason(server, start_holdfast):
    other = PostgresServer(fresh=True)
    other.start()
    other.prepare()
    relay = Relay(server.port)
    try:
        identity = "SELECT system_identifier FROM pg_control_system()"
        assert other.query(identity) != server.query(identity)
        proxy = start_holdfast(f"postgres://app@127.0.0.1:{relay.port}/app?sslmode=disable")
        client = proxy.wire()
        client.value("SELECT 1")
        relay.target_port = other.port
        relay.cut()
        client.try_send(wire.query("SELECT 1"))
        error = client.rest(deadline=20).error
        assert (error.severity, error.code) == ("FATAL", "57P01") and "cluster" in error.everything, error
        assert_alive(proxy.wire())
    finally:
        relay.close()
        other.close()
