"""What counts as lost and what does not: kills by an administrator, cut sockets, black holes, frozen and slow servers, start-up."""

import os
import subprocess
import time

import pytest

from expectations import CANCELLED, LOST, UNKNOWN, assert_alive, assert_failed_until_rollback, assert_lost
from support import processes, wire
from support.holdfast import Background
from support.postgres import PostgresServer
from support.relay import Relay
from support.scripted import READY, ROW, ScriptedServer, error, hello
from support.waiting import wait_for


@pytest.fixture
def relay(server):
    relay = Relay(server.port)
    yield relay
    relay.close()


def through(relay, query=""):
    return f"postgres://app@127.0.0.1:{relay.port}/app?sslmode=disable{query}"


# pg_terminate_backend: the same server goes on serving others.

@pytest.mark.versions
def test_an_idle_session_whose_backend_is_terminated_sees_nothing(server, proxy):
    client = proxy.wire()
    client.query("SET search_path = extra")
    server.terminate(int(client.value("SELECT pg_backend_pid()")))
    # A statement that was on its way before the end was noticed is one under way.
    reply = client.query("SHOW search_path")
    if reply.errors:
        assert_lost(reply, CANCELLED)
        reply = client.query("SHOW search_path")
    assert reply.rows == [("extra",)], reply


@pytest.mark.versions
@pytest.mark.parametrize("sql", ("SELECT count(*) FROM blocked", "INSERT INTO blocked VALUES (1)"))
def test_a_statement_whose_backend_is_terminated_stays_dead_with_57014(server, proxy, sql):
    client = proxy.wire()
    proxy.wait_for_state("connected")
    with server.block():
        client.send(wire.query(sql))
        server.terminate(server.wait_until_waiting(sql))
    assert_lost(client.reply(deadline=15), CANCELLED)
    assert_alive(client)


@pytest.mark.versions
@pytest.mark.parametrize("busy", ("idle", "busy"))
def test_a_transaction_whose_backend_is_terminated_is_lost_with_40001(server, proxy, busy):
    client = proxy.wire()
    client.query("BEGIN")
    client.query("INSERT INTO ids VALUES (1)")
    pid = int(client.value("SELECT pg_backend_pid()"))
    if busy == "idle":
        server.terminate(pid)
        reply = client.query("SELECT 1", deadline=15)
    else:
        with server.block():
            client.send(wire.query("SELECT count(*) FROM blocked"))
            server.wait_until_waiting("SELECT count(*) FROM blocked")
            server.terminate(pid)
        reply = client.reply(deadline=15)
    assert_lost(reply, LOST, "E")
    assert_failed_until_rollback(client)
    assert server.query("SELECT count(*) FROM ids") == [(0,)]


@pytest.mark.versions
def test_an_error_of_the_servers_is_passed_on_whatever_its_code(server, proxy):
    client = proxy.wire()
    for code in ("57P01", "57P02", "57P03", "08006", "08P01", "25006", "40001"):
        reply = client.query(f"DO $$ BEGIN RAISE EXCEPTION 'mine' USING ERRCODE = '{code}'; END $$")
        assert reply.error.code == code and reply.error.text == "mine" and reply.status == "I", reply
    for code in ("57P01", "57P02"):
        reply = client.query(f"DO $$ BEGIN RAISE WARNING 'mine' USING ERRCODE = '{code}'; END $$")
        assert [notice.code for notice in reply.notices] == [code] and reply.tags == ["DO"], reply
    assert client.query("SET default_transaction_read_only = on").tags == ["SET"]
    assert client.query("INSERT INTO ids VALUES (1)").error.code == "25006"
    assert proxy.state()["state"] == "connected"


def test_idle_in_transaction_timeout_ends_the_transaction_and_not_the_session(server, proxy):
    client = proxy.wire()
    client.query("SET idle_in_transaction_session_timeout = '200ms'")
    pid = int(client.value("SELECT pg_backend_pid()"))
    client.query("BEGIN")
    wait_for(lambda: pid not in server.backends(), 10, "the server ends its session")
    reply = client.query("SELECT 1", deadline=15)
    assert reply.error.code == "25P03" and reply.status == "E" and not reply.closed, reply
    assert client.query("ROLLBACK").tags == ["ROLLBACK"]
    assert_alive(client)


@pytest.mark.versions
@pytest.mark.parametrize("sql", ("SELECT pg_sleep(30)", "INSERT INTO ids SELECT 1 FROM pg_sleep(30)"))
def test_transaction_timeout_ends_a_statement_by_itself_with_its_own_code(server, proxy, sql):
    client = proxy.wire()
    if client.query("SET transaction_timeout = '1s'").errors:
        pytest.skip("version 17 brought it")
    assert_lost(client.query(sql), "25P04")
    assert server.query("SELECT count(*) FROM ids") == [(0,)]
    client.query("SET transaction_timeout = 0")
    assert_alive(client)


def test_idle_session_timeout_is_not_seen(server, proxy):
    client = proxy.wire()
    client.query("SET idle_session_timeout = '200ms'")
    pid = int(client.value("SELECT pg_backend_pid()"))
    wait_for(lambda: pid not in server.backends(), 10, "the server ends its session")
    assert client.value("SHOW idle_session_timeout") == "200ms"


def test_an_administrators_kill_of_a_commit_that_waits_for_its_standby_is_an_unknown_outcome(server, proxy):
    # The server warns, keeps what it has committed, and ends the backend with the same words as any other.
    client = proxy.wire()
    with server.commits_wait():
        client.send(wire.query("INSERT INTO ids VALUES (9)"))
        server.terminate(server.wait_until_waiting("INSERT INTO ids VALUES (9)", "SyncRep"))
        reply = client.reply(deadline=20)
    assert_lost(reply, UNKNOWN)
    assert_alive(client)
    assert server.query("SELECT id FROM ids") == [(9,)]


# The network.

@pytest.mark.parametrize("reset", (False, True))
def test_a_cut_socket_is_not_seen_by_an_idle_session(server, relay, start_holdfast, reset):
    proxy = start_holdfast(through(relay))
    client = proxy.wire()
    client.query("SET search_path = extra")
    relay.cut(reset)
    reply = client.query("SHOW search_path")
    assert reply.rows == [("extra",)], reply


@pytest.fixture(params=("app", "tenant"))
def login_role(server, request):
    """The role that a login of app's begins with; tenant is no member of app, and so sees little of its backends."""
    if request.param == "app":
        yield request.param
        return
    server.query(f"ALTER ROLE app SET role = {request.param}")
    yield request.param
    server.query("ALTER ROLE app RESET role")


@pytest.mark.parametrize("replay", ("on", "off"))
def test_a_cut_socket_ends_the_old_backend_before_the_client_hears_of_it(server, relay, start_holdfast, login_role, replay):
    # The old backend lives on behind the cut and holds its locks: it must be gone when the client is told to try again.
    proxy = start_holdfast(through(relay), connection={"replay": replay})
    client = proxy.wire()
    assert client.value("SELECT current_user") == login_role
    client.query("BEGIN")
    client.query("INSERT INTO ids VALUES (1)")
    old = server.open_transaction()
    with server.block():
        client.send(wire.query("SELECT count(*) FROM blocked"))
        server.wait_until_waiting("count(*) FROM blocked")
        relay.cut(reset=True)
        if replay == "off":
            assert_lost(client.reply(deadline=20), LOST, "E")
        else:
            wait_for(lambda: server.query("SELECT 1 FROM pg_stat_activity WHERE pid <> %s AND wait_event_type = 'Lock'", (old,)),
                     20, "the statement runs again")
        assert old not in server.backends()
    if replay == "on":
        assert client.reply(deadline=20).rows == [("0",)]
    client.query("ROLLBACK")
    assert_alive(client)


class Container:
    """A host of PostgresServer with process ids of its own."""

    address = "127.0.0.1"

    def command(self, command):
        return ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--", *command]


def next_process_id(server, pid):
    first, = processes.children(server.pid)
    subprocess.run(["nsenter", "-t", str(first), "-p", "--", "sh", "-c", f"echo {pid - 1} > /proc/sys/kernel/ns_last_pid"], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="a namespace of process ids needs root")
def test_another_server_at_the_same_address_loses_no_backend_that_has_the_same_process_id(start_holdfast):
    old, new = PostgresServer(host=Container()), PostgresServer(host=Container())
    relay = Relay(old.port)
    try:
        for each in (old, new):
            each.start()
            each.prepare()
        next_process_id(new, 3000)
        other = wire.WireClient(new.port)
        proxy = start_holdfast(through(relay))
        age = "SELECT clock_timestamp() - backend_start > interval '3 s' FROM pg_stat_activity WHERE pid = %s"
        wait_for(lambda: new.query(age, (other.pid,)) == [(True,)], 10, "it is older than the session")
        next_process_id(old, other.pid)
        client = proxy.wire()
        assert client.pid == other.pid
        client.query("BEGIN")
        client.query("INSERT INTO ids VALUES (1)")
        relay.target_port = new.port
        relay.cut()
        assert client.value("SELECT count(*) FROM ids") == "1"
        assert other.value("SELECT 'alive'") == "alive"
        other.close()
    finally:
        relay.close()
        new.close()
        old.close()


def test_a_write_behind_a_cut_socket_is_an_unknown_outcome_and_happens_at_most_once(server, relay, start_holdfast):
    proxy = start_holdfast(through(relay))
    client = proxy.wire()
    sql = "INSERT INTO ids SELECT 1 FROM (SELECT count(*) FROM blocked) AS waited"
    with server.block():
        client.send(wire.query(sql))
        server.wait_until_waiting(sql)
        relay.cut()
        reply = client.reply(deadline=20)
    assert_lost(reply, UNKNOWN)
    assert_alive(client)
    wait_for(lambda: server.query("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = %s", (sql,)) == [(0,)],
             10, "the old statement is over")
    assert server.query("SELECT count(*) FROM ids")[0][0] <= 1


@pytest.mark.parametrize("count", (0, 1, 4, 5, 6, 20, 40, 60))
def test_a_small_reply_cut_at_any_byte_is_never_torn(server, relay, start_holdfast, count):
    proxy = start_holdfast(through(relay))
    client = proxy.wire()
    client.value("SELECT 1")
    relay.cut_after(count)
    reply = client.query("SELECT 'a row of some length', 42", deadline=20)
    if reply.errors:
        assert reply.error.code in (LOST, UNKNOWN), reply
    else:
        assert reply.rows == [("a row of some length", "42")], reply
    assert reply.status == "I"
    assert_alive(client)


def test_a_black_hole_is_left_within_three_hang_timeouts(server, relay, start_holdfast):
    proxy = start_holdfast(through(relay), connection={"reconnect": {"hang_timeout": "500ms", "connection_timeout": "1s"}})
    client = proxy.wire()
    client.value("SELECT 1")
    relay.black_hole()
    started = time.monotonic()
    client.send(wire.query("SELECT 1"))
    proxy.wait_for_state("reconnecting", "failed")
    assert time.monotonic() - started < 3 * 0.5 + 1.5
    relay.black_hole(False)
    relay.cut(reset=True)
    reply = client.reply(deadline=20)
    assert reply.status == "I" and (reply.rows == [("1",)] or reply.error.code in (LOST, UNKNOWN)), reply
    assert_alive(client)


def test_a_frozen_server_is_left_within_three_hang_timeouts(server, start_holdfast):
    proxy = start_holdfast(server, connection={"reconnect": {"hang_timeout": "500ms", "connection_timeout": "1s"}})
    client = proxy.wire()
    client.value("SELECT 1")
    server.freeze()
    started = time.monotonic()
    client.send(wire.query("SELECT 1"))
    proxy.wait_for_state("reconnecting", "failed")
    assert time.monotonic() - started < 3 * 0.5 + 1.5
    server.restart("kill9_all")
    reply = client.reply(deadline=20)
    assert reply.status == "I" and (reply.rows == [("1",)] or reply.error.code in (LOST, UNKNOWN)), reply
    assert_alive(client)


def test_a_slow_statement_is_not_a_hang(server, start_holdfast):
    proxy = start_holdfast(server, connection={"reconnect": {"hang_timeout": "500ms"}})
    client = proxy.wire()
    pid = client.value("SELECT pg_backend_pid()")
    reply = client.query("SELECT pg_backend_pid() FROM pg_sleep(3)", deadline=15)
    assert reply.rows == [(pid,)], reply
    assert proxy.state()["state"] == "connected"


def test_a_first_statement_is_no_hang_at_once(start_holdfast):
    server = PostgresServer(settings={"log_connections": "on"})
    try:
        server.start()
        server.prepare()
        proxy = start_holdfast(server, connection={"exactly_once": "off"})
        mark = server.log_path.stat().st_size
        for _ in range(3):
            # It is under way when the session is looked at for the first time.
            with proxy.wire() as client:
                client.value("SELECT pg_sleep(0.6)")
        assert server.log(mark).count("connection authorized: user=app") == 3, "no login more than those of the clients"
    finally:
        server.close()


def test_a_hang_check_of_the_old_server_says_nothing_of_the_new_one(server, relay, start_holdfast):
    proxy = start_holdfast(f"postgres://app@127.0.0.1:{relay.port},127.0.0.1:{server.port}/app?sslmode=disable",
                           connection={"reconnect": {"hang_timeout": "2s", "connection_timeout": "1s", "hold_timeout": "30s"}})
    client = proxy.wire()
    client.value("SELECT 1")
    before = relay.accepted
    client.send(wire.query("SELECT pg_sleep(4), 'done'"))
    server.wait_until_running("pg_sleep(4)")
    relay.black_hole()
    wait_for(lambda: relay.accepted > before, 10, "the server is asked whether it lives")
    relay.cut(reset=True)
    # The new server is as quiet at the end of the check as the old one was at its beginning.
    reply = client.reply(deadline=30)
    assert reply.rows == [("", "done")], (reply, proxy.log())
    assert "does not answer, session" not in proxy.log(), proxy.log()


def test_a_lock_wait_is_not_a_hang(server, start_holdfast):
    proxy = start_holdfast(server, connection={"reconnect": {"hang_timeout": "500ms"}})
    client = proxy.wire()
    with server.block():
        statement = Background(client.query, "INSERT INTO blocked VALUES (1)", 15)
        server.wait_until_waiting("INSERT INTO blocked")
        began = time.monotonic()
        wait_for(lambda: time.monotonic() - began > 3, 5, "several hang_timeouts are over")
        assert not statement.is_done
    assert statement.result().tags == ["INSERT 0 1"]
    server.query("TRUNCATE blocked")


def test_one_frozen_backend_is_not_a_hang_of_the_server(server, start_holdfast):
    proxy = start_holdfast(server, connection={"reconnect": {"hang_timeout": "500ms"}})
    frozen, other = proxy.wire(), proxy.wire()
    pid = int(frozen.value("SELECT pg_backend_pid()"))
    server.freeze(pid)
    statement = Background(frozen.query, "SELECT 'thawed'", 20)
    began = time.monotonic()
    wait_for(lambda: not other.query("SELECT 1").errors and time.monotonic() - began > 3, 10, "several hang_timeouts are over")
    server.thaw(pid)
    assert statement.result().rows == [("thawed",)]
    assert proxy.state()["state"] == "connected"


# A server that is not ready, or not one.

def test_a_login_answered_with_57p03_is_asked_again_soon_and_is_no_failed_attempt(start_holdfast):
    def script(peer):
        peer.read_startup()
        if time.monotonic() < ready_at:
            peer.send(error("57P03", "the database system is starting up"))
            return
        peer.send(hello())
        peer.serve()

    ready_at = time.monotonic() + 3
    upstream = ScriptedServer(script)
    try:
        proxy = start_holdfast(upstream.uri(), ready=False)
        client = proxy.wire()
        assert time.monotonic() - ready_at < 2
        assert client.query("SELECT 1").rows == [("1",)]
        assert upstream.accepted >= 4, "asked again within 3 s"
        assert "all reconnection attempts failed" not in proxy.log()
        assert not upstream.problems
    finally:
        upstream.close()


def test_a_session_is_not_ended_by_a_server_that_has_not_enough_memory_for_its_login_yet(start_holdfast):
    refusals = []

    def script(peer):
        if b"survivor" not in peer.read_startup():
            peer.send(hello())
            return peer.serve()
        if lost and len(refusals) < 3:
            refusals.append(peer.number)
            return peer.send(error("53200", "out of memory"))
        peer.send(hello())
        return peer.serve(lambda kind, body: lost.append(peer.drop()) if b"drop" in body else None)

    lost = []
    scripted = ScriptedServer(script)
    try:
        client = start_holdfast(scripted.uri()).wire(application_name="survivor")
        assert client.query("SELECT 'drop'").error.code == LOST
        assert client.query("SELECT 1", deadline=20).rows == [("1",)]
        assert len(refusals) == 3 and not scripted.problems
    finally:
        scripted.close()


def test_a_server_that_accepts_and_says_nothing_is_lost_after_connection_timeout(start_holdfast):
    upstream = ScriptedServer(lambda peer: peer.wait_for_end())
    try:
        proxy = start_holdfast(upstream.uri(), ready=False,
                               connection={"reconnect": {"connection_timeout": "500ms", "hold_timeout": "3s"}})
        raw = proxy.wire(login=False)
        raw.send(wire.startup())
        assert raw.rest(deadline=15).error.code == "57P03"
        assert upstream.accepted >= 2
    finally:
        upstream.close()


@pytest.mark.parametrize("garbage", (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"E\xff\xff\xff\xff", b"R\0\0\0\0", b"R\0\0\0\3",
                                     b"Z\x7f\xff\xff\xff", b"\0" * 100, b"R\0\0\0\x08\0\0\0\x63"))
def test_a_server_that_talks_garbage_at_login_ends_that_login_and_nothing_else(server, start_holdfast, garbage):
    def script(peer):
        peer.read_startup()
        peer.send(garbage)
        peer.wait_for_end()

    upstream = ScriptedServer(script)
    try:
        proxy = start_holdfast(upstream.uri(), ready=False,
                               connection={"reconnect": {"hold_timeout": "1s", "connection_timeout": "500ms"}})
        raw = proxy.wire(login=False)
        raw.send(wire.startup())
        assert raw.rest(deadline=15).error.severity == "FATAL"
        assert proxy.admin("/healthz")[0] == 200
    finally:
        upstream.close()


@pytest.mark.parametrize("garbage", (b"D\0\0\0\0", b"D\0\0\0\3", b"D\xff\xff\xff\xff", b"T\x80\0\0\0", b"Z\0\0\0\4"))
def test_a_server_that_talks_garbage_later_ends_no_other_session(start_holdfast, garbage):
    def script(peer):
        peer.read_startup()
        peer.send(hello())
        peer.serve(lambda kind, body: garbage if kind == "Q" and b"garbage" in body else None)

    upstream = ScriptedServer(script)
    try:
        proxy = start_holdfast(upstream.uri())
        other, client = proxy.wire(), proxy.wire()
        client.send(wire.query("SELECT 'garbage'"))
        reply = client.reply(deadline=20)
        assert reply.errors and not reply.rows, reply
        assert other.query("SELECT 1").rows == [("1",)]
    finally:
        upstream.close()


def test_a_row_that_a_server_began_and_never_ended_is_not_passed_on_as_whole(start_holdfast):
    def script(peer):
        peer.read_startup()
        peer.send(hello())
        while True:
            kind, body = peer.read()
            if kind == "Q" and b"half" in body:
                peer.send(ROW[:-20])
                peer.drop()
                return
            peer.send(ROW if kind in "QE" else b"", READY if kind in "QS" else b"")

    upstream = ScriptedServer(script)
    try:
        proxy = start_holdfast(upstream.uri())
        client = proxy.wire()
        client.send(wire.query("SELECT 'half'"))
        reply = client.reply(deadline=20)
        assert not reply.tags and reply.errors, reply
    finally:
        upstream.close()
