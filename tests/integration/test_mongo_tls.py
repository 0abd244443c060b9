"""TLS on both sides of the proxy with PyMongo: to clients by the configuration, to the members by the URI, and a login by certificate."""

import os
import shutil
import socket
import ssl
from contextlib import closing, suppress
from pathlib import Path

import pytest
from pymongo import MongoClient
from pymongo.errors import ServerSelectionTimeoutError

from support.certificates import Authority
from support.mongo import ModelSet
from support.mongo_listener import WatchedClient
from support.mongo_raw import message
from support.waiting import wait_for

PASSWORD = "apppw-5eaf00d"
HERE = "DNS:localhost,IP:127.0.0.1"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def model(authority):
    certificate, key = authority.issue("member", HERE)
    with ModelSet("--members", 3, "--tls", certificate, key, authority.certificate, "--user", f"admin:app:{PASSWORD}:root",
                  "--user", "$external:CN=holdfast:") as one:
        yield one
    assert "Traceback" not in one.problems, one.problems


def both(authority, name):
    """A certificate and its key in one file, as MongoDB wants them."""
    certificate, key = authority.issue(name)
    path = Path(certificate).with_suffix(".both.pem")
    path.write_bytes(Path(certificate).read_bytes() + Path(key).read_bytes())
    return str(path)


def upstream(model, login="", **options):
    return model.uri(**options).replace("mongodb://", f"mongodb://{login}")


def processor_seconds(proxy):
    """User and system time of the proxy (proc(5))."""
    fields = Path(f"/proc/{proxy.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_server_that_says_that_it_leaves_has_left(model, authority, start_holdfast):
    """By TLS's close_notify, as proxies in front of a member do: what comes next goes over another connection, and nothing spins meanwhile."""
    proxy = start_holdfast(upstream(model, f"app:{PASSWORD}@", tls="true", tlsCAFile=authority.certificate),
                           connection={"type": "mongodb", "health": {"interval": "60s"}})
    proxy.secrets.add(PASSWORD)
    with closing(WatchedClient(proxy.port)) as watched:
        watched.collection.insert_one({"_id": "left", "n": 0})
        for number in range(1, 4):
            before, losses = processor_seconds(proxy), proxy.log().count("connection lost to main")
            model.do("drop_connections", member=model.primary(), how="fin")
            wait_for(lambda: proxy.log().count("connection lost to main") > losses, what="the standing connection's end is seen")
            assert watched.collection.update_many({"_id": "left"}, {"$inc": {"n": 1}}).modified_count == 1
            assert watched.collection.find_one({"_id": "left"})["n"] == number
            assert processor_seconds(proxy) - before < 1.0
        watched.saw_nothing()


def test_a_client_that_says_that_it_leaves_has_left(model, authority, start_holdfast, tmp_path):
    """What it waited for is cut off, as when it only leaves."""
    certificate, key = authority.issue("proxy", HERE)
    proxy = start_holdfast(upstream(model, f"app:{PASSWORD}@", tls="true", tlsCAFile=authority.certificate),
                           connection={"type": "mongodb", "auth": "trust", "tls": {"cert_file": certificate, "key_file": key}})
    proxy.secrets.add(PASSWORD)
    context = ssl.create_default_context(cafile=authority.certificate)
    model.do("delay", ms=8000, commands=["find"])
    try:
        with socket.create_connection(("localhost", proxy.port)) as raw, context.wrap_socket(raw, server_hostname="localhost") as client:
            client.sendall(message({"find": "things", "$db": "test"}))
            wait_for(lambda: proxy.state()["sessions"]["active"] == 1, what="the read under way")
            client.setblocking(False)
            with suppress(ssl.SSLWantReadError):
                client.unwrap()
        wait_for(lambda: proxy.state()["sessions"]["active"] == 0, deadline=4.0, what="its end")
    finally:
        model.do("delay", ms=0, commands=["find"])


def test_the_members_are_reached_by_tls_and_a_login_goes_over_it(model, authority, start_holdfast):
    proxy = start_holdfast(upstream(model, f"app:{PASSWORD}@", tls="true", tlsCAFile=authority.certificate), connection={"type": "mongodb"})
    proxy.secrets.add(PASSWORD)
    with closing(WatchedClient(proxy.port)) as watched:
        watched.collection.insert_one({"_id": "tls"})
        old = model.primary()
        model.do("kill", how="rst")
        watched.collection.insert_one({"_id": "tls after a loss"})
        wait_for(lambda: model.primary() not in (None, old), what="another primary")
        model.do("start", member=old)
        watched.saw_nothing()


def test_the_proxy_logs_in_by_its_certificate(model, authority, start_holdfast):
    proxy = start_holdfast(upstream(model, authMechanism="MONGODB-X509", tlsCertificateKeyFile=both(authority, "holdfast"),
                                    tlsCAFile=authority.certificate), connection={"type": "mongodb"})
    with MongoClient("127.0.0.1", proxy.port) as client:
        users = client.admin.command("connectionStatus")["authInfo"]["authenticatedUsers"]
        assert users == [{"user": "CN=holdfast", "db": "$external"}]


def test_a_certificate_that_no_user_has_is_refused_and_shown(model, authority, start_holdfast):
    proxy = start_holdfast(upstream(model, authMechanism="MONGODB-X509", tlsCertificateKeyFile=both(authority, "stranger"),
                                    tlsCAFile=authority.certificate), connection={"type": "mongodb"}, ready=False)
    wait_for(lambda: "Authentication failed" in (proxy.state()["lastError"] or ""), what="the refusal in lastError")


def test_members_of_another_authority_or_another_name_are_not_believed(model, authority, start_holdfast, tmp_path):
    other = Authority(tmp_path / "other", "somebody else")
    for options in ({"tlsCAFile": other.certificate}, {}):
        proxy = start_holdfast(upstream(model, tls="true", **options), connection={"type": "mongodb"}, ready=False)
        wait_for(lambda: "certificate verify failed" in (proxy.state()["lastError"] or ""), what="the reason in lastError")


def test_a_client_comes_by_tls_where_the_configuration_has_it_and_not_without(model, authority, start_holdfast):
    certificate, key = authority.issue("proxy", HERE)
    proxy = start_holdfast(upstream(model, f"app:{PASSWORD}@", tlsCAFile=authority.certificate),
                           connection={"type": "mongodb", "auth": "scram", "tls": {"cert_file": certificate, "key_file": key}})
    proxy.secrets.add(PASSWORD)
    secure = {"tls": True, "tlsCAFile": authority.certificate, "username": "app", "password": PASSWORD}
    with closing(WatchedClient(proxy.port, **secure)) as watched:
        watched.collection.insert_one({"_id": "by tls"})
        watched.collection.insert_many([{"filler": "x" * 100_000} for _ in range(20)])
        assert watched.collection.count_documents({}) >= 21
        model.do("drop_connections", how="rst")
        watched.collection.insert_one({"_id": "by tls, once more"})
        watched.saw_nothing()
    with MongoClient("127.0.0.1", proxy.port, serverSelectionTimeoutMS=1500) as plain, pytest.raises(ServerSelectionTimeoutError):
        plain.admin.command("ping")
    assert "TLS with 127.0.0.1" in proxy.log()


def test_a_client_that_shows_no_certificate_is_turned_away_where_one_is_demanded(model, authority, start_holdfast):
    certificate, key = authority.issue("demanding", HERE)
    proxy = start_holdfast(upstream(model, f"app:{PASSWORD}@", tlsCAFile=authority.certificate),
                           connection={"type": "mongodb", "tls": {"cert_file": certificate, "key_file": key,
                                                                  "client_ca_file": authority.certificate}})
    proxy.secrets.add(PASSWORD)
    secure = {"tls": True, "tlsCAFile": authority.certificate, "serverSelectionTimeoutMS": 1500}
    with MongoClient("127.0.0.1", proxy.port, **secure) as client, pytest.raises(ServerSelectionTimeoutError):
        client.admin.command("ping")
    with MongoClient("127.0.0.1", proxy.port, tlsCertificateKeyFile=both(authority, "customer"), **secure) as client:
        assert client.admin.command("ping")["ok"] == 1


def certificate_shown(port):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client, context.wrap_socket(client) as secure:
        return ssl.DER_cert_to_PEM_cert(secure.getpeercert(binary_form=True))


def test_certificates_that_were_replaced_are_taken_into_use_by_a_reload_on_both_sides(model, authority, start_holdfast, tmp_path):
    certificate, key = (shutil.copy(path, tmp_path) for path in authority.issue("proxy", HERE))
    believed = shutil.copy(authority.certificate, tmp_path)
    proxy = start_holdfast(upstream(model, f"app:{PASSWORD}@", tlsCAFile=believed), top={"watch_files": "on"},
                           connection={"type": "mongodb", "auth": "scram", "tls": {"cert_file": certificate, "key_file": key}})
    proxy.secrets.add(PASSWORD)
    first = certificate_shown(proxy.port)
    with closing(WatchedClient(proxy.port, tls=True, tlsCAFile=authority.certificate, username="app", password=PASSWORD)) as watched:
        watched.collection.insert_one({"_id": "with the first certificate"})
        for path, into in zip(authority.issue("proxy", HERE), (certificate, key)):
            shutil.copy(path, into)
        wait_for(lambda: certificate_shown(proxy.port) != first, what="the new certificate")
        watched.collection.insert_one({"_id": "with the second certificate"})
        watched.saw_nothing()
    # Toward the members: of another authority they are no more to be believed, and then are again.
    shutil.copy(Authority(tmp_path / "other", "somebody else").certificate, believed)
    proxy.wait_for_log(f"{believed} has changed")
    model.do("drop_connections", how="rst")
    wait_for(lambda: "certificate verify failed" in (proxy.state()["lastError"] or ""), what="members that are not believed")
    shutil.copy(authority.certificate, believed)
    proxy.wait_for_state("connected")
