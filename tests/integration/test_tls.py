"""TLS toward clients and toward the server, with verification as libpq means it, through deaths."""

import psycopg
import pytest

from support.certificates import Authority
from support.holdfast import Background
from support.postgres import PASSWORDS, PostgresServer


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    folder = tmp_path_factory.mktemp("authority")
    return Authority(folder / "ours")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """An authority that signed nothing here."""
    return Authority(tmp_path_factory.mktemp("stranger"), "somebody else")


@pytest.fixture(scope="module")
def tls_server(authority, server_version):
    server = PostgresServer(server_version)
    authority.issue_to_server(server)
    server.start()
    server.prepare()
    yield server
    server.close()


def in_tls(connection):
    """Whether the backend of this session is spoken to in TLS."""
    return connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone()[0]


@pytest.fixture
def client_tls(authority, tls_server, start_holdfast):
    """A proxy that speaks TLS with its clients."""
    certificate, key = authority.issue("proxy", "DNS:localhost,IP:127.0.0.1")
    return start_holdfast(tls_server.uri(), connection={"tls": {"cert_file": certificate, "key_file": key}})


@pytest.mark.parametrize("mode", ("require", "verify-ca", "verify-full"))
def test_a_client_is_served_in_tls_and_keeps_its_session(client_tls, authority, tls_server, mode):
    connection = client_tls.connect(sslmode=mode, sslrootcert=authority.certificate)
    assert connection.pgconn.ssl_in_use
    connection.execute("SET search_path = extra")
    tls_server.restart("kill9_all")
    assert connection.execute("SHOW search_path").fetchone() == ("extra",)


def test_a_client_that_trusts_another_authority_does_not_connect(client_tls, stranger):
    with pytest.raises(psycopg.OperationalError, match="certificate"):
        client_tls.connect(sslmode="verify-ca", sslrootcert=stranger.certificate)


@pytest.mark.skipif(psycopg.pq.version() < 170000, reason="sslnegotiation=direct needs libpq 17")
def test_a_client_is_served_in_direct_tls(client_tls, authority):
    connection = client_tls.connect(sslmode="verify-full", sslrootcert=authority.certificate, sslnegotiation="direct")
    assert connection.pgconn.ssl_in_use and connection.execute("SELECT 1").fetchone() == (1,)


def test_a_cancel_reaches_a_session_in_tls(client_tls, authority, tls_server):
    connection = client_tls.connect(sslmode="require")
    statement = Background(connection.execute, "SELECT pg_sleep(32)")
    tls_server.wait_until_running("pg_sleep(32)")
    connection.cancel()
    statement.error(psycopg.errors.QueryCanceled)


def test_large_results_pass_through_tls_on_both_sides(authority, tls_server, start_holdfast):
    certificate, key = authority.issue("proxy-2", "IP:127.0.0.1")
    proxy = start_holdfast(tls_server.uri(sslmode="require"), connection={"tls": {"cert_file": certificate, "key_file": key}})
    connection = proxy.connect(sslmode="require")
    assert connection.execute("SELECT length(string_agg(t, '')) FROM (SELECT repeat('x', 1000) AS t FROM generate_series(1, 9)) AS s"
                              ).fetchone() == (9000,)
    assert len(connection.execute("SELECT repeat('y', 20000000)").fetchone()[0]) == 20_000_000
    sent = "z" * 5_000_000
    assert connection.execute("SELECT length(%s::text)", (sent,)).fetchone() == (5_000_000,)


@pytest.mark.versions
@pytest.mark.parametrize("mode", ("require", "verify-ca", "verify-full"))
def test_the_server_is_spoken_to_in_tls(authority, tls_server, start_holdfast, mode):
    proxy = start_holdfast(tls_server.uri(sslmode=mode, query=f"&sslrootcert={authority.certificate}"))
    connection = proxy.connect()
    assert in_tls(connection)
    connection.execute("SET search_path = extra")
    tls_server.restart("kill9_all")
    assert in_tls(connection) and connection.execute("SHOW search_path").fetchone() == ("extra",)


@pytest.mark.parametrize("mode", ("verify-ca", "verify-full"))
def test_a_server_with_a_strangers_certificate_is_refused_with_the_reason(stranger, tls_server, start_holdfast, mode):
    proxy = start_holdfast(tls_server.uri(sslmode=mode, query=f"&sslrootcert={stranger.certificate}"), ready=False,
                           connection={"reconnect": {"hold_timeout": "1s"}})
    with pytest.raises(psycopg.OperationalError, match="certificate"):
        proxy.connect()
    assert "certificate" in proxy.state()["lastError"]


def test_verify_full_refuses_a_certificate_for_another_name_and_verify_ca_takes_it(authority, start_holdfast):
    server = PostgresServer()
    try:
        authority.issue_to_server(server, "elsewhere", "DNS:elsewhere.example")
        server.start()
        server.prepare()
        root = f"&sslrootcert={authority.certificate}"
        refused = start_holdfast(server.uri(sslmode="verify-full", query=root), ready=False,
                                 connection={"reconnect": {"hold_timeout": "1s"}})
        with pytest.raises(psycopg.OperationalError):
            refused.connect()
        taken = start_holdfast(server.uri(sslmode="verify-ca", query=root))
        assert in_tls(taken.connect())
    finally:
        server.close()


def test_a_server_without_tls_is_refused_by_require_and_taken_by_prefer(server, start_holdfast):
    refused = start_holdfast(server.uri(sslmode="require"), ready=False, connection={"reconnect": {"hold_timeout": "1s"}})
    with pytest.raises(psycopg.OperationalError):
        refused.connect()
    assert not in_tls(start_holdfast(server.uri(sslmode="prefer")).connect())


@pytest.mark.parametrize("user", ("tls_user", "clear_user"))
def test_passwords_that_the_server_wants_in_tls_only_work(tls_server, start_holdfast, user):
    proxy = start_holdfast(tls_server.uri(user, password=PASSWORDS[user], sslmode="require"), connection={"auth": "scram"})
    connection = proxy.connect(user=user, password=PASSWORDS[user])
    tls_server.restart("kill9_all")
    assert connection.execute("SELECT session_user").fetchone() == (user,)


def test_channel_binding_is_used_where_the_uri_asks_for_it_and_missed_where_the_server_has_none(tls_server, server, start_holdfast):
    words = {"password": PASSWORDS["tls_user"], "query": "&channel_binding=require"}
    proxy = start_holdfast(tls_server.uri("tls_user", sslmode="require", **words), connection={"auth": "scram"})
    connection = proxy.connect(user="tls_user", password=PASSWORDS["tls_user"])
    assert connection.execute("SELECT session_user").fetchone() == ("tls_user",)
    in_clear = start_holdfast(server.uri("scram_user", password=PASSWORDS["scram_user"], query="&channel_binding=require"), ready=False,
                              connection={"auth": "scram", "reconnect": {"hold_timeout": "1s"}})
    with pytest.raises(psycopg.OperationalError, match="channel binding"):
        in_clear.connect(user="scram_user", password=PASSWORDS["scram_user"])


def test_a_client_certificate_logs_in_upstream(authority, tls_server, start_holdfast):
    certificate, key = authority.issue("cert_user")
    proxy = start_holdfast(tls_server.uri("cert_user", sslmode="verify-full",
                                          query=f"&sslrootcert={authority.certificate}&sslcert={certificate}&sslkey={key}"))
    connection = proxy.connect(user="cert_user")
    tls_server.restart("kill9_all")
    assert connection.execute("SELECT session_user").fetchone() == ("cert_user",)
