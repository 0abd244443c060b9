"""Who is let in, by what, and how the proxy logs in to the server: trust, scram, verifiers, passthrough, md5, unix sockets."""

import struct
import time

import psycopg
import pytest

from expectations import assert_alive
from support import wire
from support.postgres import PASSWORDS


def scram(server, start_holdfast, user="scram_user", **connection):
    """A proxy that knows this role's password from its URI and checks it itself."""
    return start_holdfast(server.uri(user, password=PASSWORDS[user]), connection={"auth": "scram", **connection})


@pytest.mark.versions
@pytest.mark.parametrize("user", ("scram_user", "md5_user"))
def test_the_proxy_checks_the_clients_password_and_logs_in_with_it(server, start_holdfast, user):
    proxy = scram(server, start_holdfast, user)
    connection = proxy.connect(user=user, password=PASSWORDS[user])
    assert connection.execute("SELECT session_user").fetchone() == (user,)
    server.restart("kill9_all")
    assert connection.execute("SELECT session_user").fetchone() == (user,)


@pytest.mark.parametrize("words", ({"password": "wrong"}, {"password": ""}, {"user": "nobody_knows", "password": "x"}))
def test_a_wrong_password_is_28P01_at_once_and_says_no_more(server, start_holdfast, words):
    proxy = scram(server, start_holdfast)
    started = time.monotonic()
    with pytest.raises(psycopg.OperationalError) as caught:
        proxy.connect(**{"user": "scram_user", **words})
    assert time.monotonic() - started < 3
    assert "password" in str(caught.value)
    assert PASSWORDS["scram_user"] not in str(caught.value)


def test_a_verifier_lets_its_owner_in_and_logs_in_with_the_clients_proof(server, start_holdfast):
    verifier = server.query("SELECT rolpassword FROM pg_authid WHERE rolname = 'scram_other'")[0][0]
    proxy = scram(server, start_holdfast, users=[{"name": "scram_other", "scram": verifier}])
    proxy.secrets.add(verifier)
    connection = proxy.connect(user="scram_other", password=PASSWORDS["scram_other"])
    connection.execute("SET search_path = extra")
    server.restart("kill9_all")
    assert connection.execute("SHOW search_path").fetchone() == ("extra",)
    with pytest.raises(psycopg.OperationalError):
        proxy.connect(user="scram_other", password=PASSWORDS["scram_user"])


def test_more_users_have_passwords_from_the_environment_and_files(server, start_holdfast, tmp_path):
    path = tmp_path / "password"
    path.write_text(PASSWORDS["scram_user"] + "\n")
    path.chmod(0o600)
    proxy = start_holdfast(server.uri("scram_user"), environment={"OTHER_PASSWORD": PASSWORDS["scram_other"]}, connection={
        "auth": "scram", "password_file": str(path), "users": [{"name": "scram_other", "password_env": "OTHER_PASSWORD"}]})
    for user in ("scram_user", "scram_other"):
        assert proxy.connect(user=user, password=PASSWORDS[user]).execute("SELECT session_user").fetchone() == (user,)


def test_auth_query_finds_the_verifier_of_whoever_logs_in(server, start_holdfast):
    proxy = start_holdfast(server, connection={"auth": "scram", "auth_query": {
        "sql": "SELECT usename, passwd FROM pg_shadow WHERE usename = $1", "user": "postgres"}})
    for user in ("scram_user", "scram_other"):
        connection = proxy.connect(user=user, password=PASSWORDS[user])
        server.restart("kill9_all")
        assert connection.execute("SELECT session_user").fetchone() == (user,)
    with pytest.raises(psycopg.OperationalError):
        proxy.connect(user="scram_user", password="wrong")
    with pytest.raises(psycopg.OperationalError):
        proxy.connect(user="nobody_knows", password="wrong")


@pytest.mark.versions
@pytest.mark.parametrize("user", ("scram_user", "md5_user"))
def test_passthrough_asks_the_client_what_the_server_asks(server, start_holdfast, user):
    proxy = start_holdfast(server.uri(), connection={"auth": "passthrough"})
    connection = proxy.connect(user=user, password=PASSWORDS[user])
    connection.execute("SET search_path = extra")
    server.restart("kill9_all")
    assert connection.execute("SELECT session_user || current_schema").fetchone() == (user + "extra",)
    with pytest.raises(psycopg.OperationalError) as caught:
        proxy.connect(user=user, password="wrong")
    assert "password authentication failed" in str(caught.value)


@pytest.mark.fault_free
def test_passthrough_asks_for_nothing_where_the_server_trusts(server, start_holdfast):
    proxy = start_holdfast(server.uri(), connection={"auth": "passthrough"})
    assert proxy.connect(user="other").execute("SELECT session_user").fetchone() == ("other",)


@pytest.mark.parametrize("auth", ("scram", "passthrough"))
def test_a_password_changed_during_the_outage_is_28P01_at_once_and_never_retried(server, start_holdfast, auth):
    new = "changed-4d1e"
    uri = server.uri("scram_user", password=PASSWORDS["scram_user"]) if auth == "scram" else server.uri()
    proxy = start_holdfast(uri, connection={"auth": auth})
    proxy.secrets.add(new)
    client = proxy.connect(user="scram_user", password=PASSWORDS["scram_user"])
    server.query(f"ALTER ROLE scram_user PASSWORD '{new}'")
    try:
        server.restart("kill9_all")
        started = time.monotonic()
        with pytest.raises(psycopg.OperationalError) as caught:
            client.execute("SELECT 1")
        assert time.monotonic() - started < 5, "not held until hold_timeout"
        assert caught.value.sqlstate == "28P01" or "password" in str(caught.value)
        assert server.log().count('password authentication failed for user "scram_user"') < 6
    finally:
        server.query(f"ALTER ROLE scram_user PASSWORD '{PASSWORDS['scram_user']}'")


def test_users_and_databases_can_be_limited(server, start_holdfast):
    proxy = start_holdfast(server, connection={"databases": ["app"]})
    assert proxy.connect().execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError):
        proxy.connect(dbname="postgres")


def test_a_unix_listener_serves_psql(server, start_holdfast, tmp_path):
    tmp_path.chmod(0o755)
    path = tmp_path / ".s.PGSQL.6432"
    proxy = start_holdfast(server, connection={"listen": f"unix:{path}"})
    connection = psycopg.connect(f"host={tmp_path} port=6432 user=app dbname=app", autocommit=True)
    proxy.clients.append(connection)
    connection.execute("SET search_path = extra")
    server.restart("kill9_all")
    assert connection.execute("SHOW search_path").fetchone() == ("extra",)


def test_several_listeners_serve_one_connection(server, start_holdfast, tmp_path):
    tmp_path.chmod(0o755)
    proxy = start_holdfast(server, ready=True, connection={"listen": ["127.0.0.1:0", f"unix:{tmp_path}/.s.PGSQL.6432"]})
    connection = psycopg.connect(f"host={tmp_path} port=6432 user=app dbname=app")
    proxy.clients.append(connection)
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_an_upstream_can_be_a_unix_socket(server, start_holdfast):
    proxy = start_holdfast(f"postgres://app@/app?host={server.folder}&port={server.port}")
    client = proxy.wire()
    server.restart("kill9_all")
    assert_alive(client)


def test_tls_and_gss_requests_are_declined_where_there_is_no_certificate(server, proxy):
    for code in (80877103, 80877104):
        client = proxy.wire(login=False)
        client.send(struct.pack("!II", 8, code))
        assert client.socket.recv(1) == b"N"
        client.send(wire.startup())
        assert client.reply().status == "I"
    assert proxy.connect(sslmode="prefer", gssencmode="prefer").execute("SELECT 1").fetchone() == (1,)


def test_protocol_3_2_is_negotiated(server, proxy):
    client = proxy.wire(protocol=0x30002)
    kinds = client.hello.kinds
    assert kinds.startswith("v") or len(client.key) > 4, client.hello
    client.send(wire.query("SELECT pg_sleep(30)"))
    server.wait_until_running("pg_sleep(30)")
    client.cancel()
    assert client.reply().error.code == "57014"


@pytest.mark.parametrize("words", ({"auth": "scram"}, {"auth": "passthrough"}))
def test_no_secret_is_shown_anywhere(server, start_holdfast, words):
    user = "scram_user"
    proxy = start_holdfast(server.uri(user, password=PASSWORDS[user]), connection=words, top={"log": {"level": "debug"}})
    proxy.connect(user=user, password=PASSWORDS[user]).execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        proxy.connect(user=user, password="a-wrong-secret")
    server.restart("kill9")
    proxy.wait_for_state("connected")
    shown = proxy.log()
    for path in ("/metrics", "/api/v1/connections", "/api/connection/status"):
        shown += proxy.admin(path)[1]
    with open(f"/proc/{proxy.process.pid}/cmdline", encoding="utf-8") as title:
        shown += title.read()
    assert PASSWORDS[user] not in shown and "a-wrong-secret" not in shown and "SCRAM-SHA-256$" not in shown
