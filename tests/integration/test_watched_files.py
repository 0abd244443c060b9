"""watch_files: what Kubernetes does to a mounted ConfigMap or Secret reaches the proxy without a signal and without losing a session."""

import http.client
import os
import pathlib
import shutil
import socket
import ssl
import struct

import psycopg
import pytest
import yaml
from pymongo import MongoClient

from expectations import assert_alive
from support.certificates import Authority
from support.mongo import ModelSet
from support.postgres import PostgresServer
from support.waiting import wait_for


class Volume:
    """A mounted ConfigMap or Secret: links into ..data, which is a link to a folder that is never written twice."""

    def __init__(self, folder, files):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(exist_ok=True)
        self._number = 0
        self.write(files)
        for name in files:
            (self.folder / f"..new_{name}").symlink_to(f"..data/{name}")
            os.rename(self.folder / f"..new_{name}", self.folder / name)

    def write(self, files):
        """As the kubelet does it: a new folder, a new link, one rename, the old folder away."""
        before = self.folder / f"..{self._number}"
        self._number += 1
        new = self.folder / f"..{self._number}"
        new.mkdir()
        for name, text in files.items():
            (new / name).write_text(text)
        (self.folder / "..data_tmp").symlink_to(new.name)
        os.rename(self.folder / "..data_tmp", self.folder / "..data")
        if before.is_dir():
            shutil.rmtree(before)

    def path(self, name):
        return str(self.folder / name)


class Mounted:
    """A volume with one file, in a folder that may hold others too."""

    def __init__(self, path, text):
        self.path = pathlib.Path(path)
        self._volume = Volume(self.path.parent, {self.path.name: text})

    def write(self, text):
        self._volume.write({self.path.name: text})


WATCHING = {"watch_files": "on"}


def mount_config(proxy):
    return Mounted(proxy.config_path, yaml.safe_dump(proxy.document))


def reloads(proxy):
    return proxy.log().count("configuration reloaded")


def test_a_swapped_configmap_applies_without_a_signal_and_without_losing_a_session(server, start_holdfast):
    proxy = start_holdfast(server, connection={"max_clients": 1}, top=WATCHING)
    mounted = mount_config(proxy)
    proxy.wait_for_log("configuration reloaded")
    client = proxy.wire()
    client.query("SET search_path = extra")
    with pytest.raises(psycopg.OperationalError):
        proxy.connect()
    proxy.connection_config["max_clients"] = 10
    mounted.write(yaml.safe_dump(proxy.document))
    wait_for(lambda: proxy.connect().execute("SELECT 1").fetchone() == (1,), 10, "the new limit counts")
    assert client.value("SHOW search_path") == "extra"
    wait_for(lambda: reloads(proxy) == 2, 5, "the second reload")
    assert str(proxy.config_path) in proxy.log()


def test_a_swapped_configmap_with_a_mistake_changes_nothing_and_the_next_one_applies(server, start_holdfast):
    proxy = start_holdfast(server, top=WATCHING)
    client = proxy.wire()
    mounted = mount_config(proxy)
    proxy.wait_for_log("configuration reloaded")
    mounted.write("connections: 7\n")
    proxy.wait_for_log(r"reload refused: .*holdfast\.yaml:1:")
    assert_alive(client)
    assert_alive(proxy.wire())
    mounted.write(yaml.safe_dump(proxy.document))
    wait_for(lambda: reloads(proxy) == 2, 10, "the good one is read")


def test_a_file_is_not_watched_unless_that_is_asked_for(server, start_holdfast):
    proxy = start_holdfast(server, connection={"max_clients": 1})
    mounted = mount_config(proxy)
    watching = start_holdfast(server, top=WATCHING)
    mount_config(watching)
    watching.wait_for_log("configuration reloaded")  # as long as a look takes
    mounted.write("connections: 7\n")
    assert "holdfast.yaml" not in proxy.log()
    proxy.write_config()
    proxy.reload()
    proxy.wait_for_log("configuration reloaded")
    assert reloads(proxy) == 1


def test_the_environment_can_ask_for_it_too(server, start_holdfast):
    proxy = start_holdfast(server, environment={"HOLDFAST_WATCH_FILES": "on"})
    mount_config(proxy)
    proxy.wait_for_log("configuration reloaded")


def test_a_rotated_password_is_what_new_clients_and_the_health_check_log_in_with(server, start_holdfast, tmp_path):
    """The Secret and the server change one after the other; between them the standing connection is refused."""
    server.query("CREATE ROLE rotated_user LOGIN PASSWORD 'first-word-1a2b'")
    server.query("GRANT ALL ON SCHEMA public TO rotated_user")
    access = (server.data / "pg_hba.conf").read_text()
    server.write_access("host all rotated_user 127.0.0.1/32 scram-sha-256\n" + access)
    server.reload()
    secret = Mounted(tmp_path / "password", "first-word-1a2b\n")
    try:
        proxy = start_holdfast(server.uri(user="rotated_user"), top=WATCHING, connection={
            "auth": "scram", "password_file": str(secret.path), "reconnect": {"retry_delay": "100ms"}})
        proxy.secrets |= {"first-word-1a2b", "second-word-3c4d"}
        before = proxy.connect(user="rotated_user", password="first-word-1a2b")
        assert before.execute("SELECT 1").fetchone() == (1,)

        server.query("ALTER ROLE rotated_user PASSWORD 'second-word-3c4d'")
        server.restart("fast")
        wait_for(lambda: "password" in (proxy.state()["lastError"] or ""), 15, "the old password is refused")
        secret.write("second-word-3c4d\n")
        proxy.wait_for_state("connected")
        after = proxy.connect(user="rotated_user", password="second-word-3c4d")
        assert after.execute("SELECT current_user").fetchone() == ("rotated_user",)
        with pytest.raises(psycopg.OperationalError):
            proxy.connect(user="rotated_user", password="first-word-1a2b")
    finally:
        server.write_access(access)
        server.query("DROP OWNED BY rotated_user")
        server.query("DROP ROLE rotated_user")


def test_a_rotated_password_is_what_holdfast_itself_logs_in_to_mongodb_with(start_holdfast, tmp_path):
    """A primary that steps down is when it shows: the standing connection and the monitors' are made anew."""
    secret = Mounted(tmp_path / "password", "first-word-1a2b\n")
    with ModelSet("--members", 3, "--user", "admin:root:first-word-1a2b:root", "--user", "admin:app:apppw-1234") as model:
        proxy = start_holdfast(model.uri().replace("mongodb://", "mongodb://root@"), top=WATCHING, connection={
            "type": "mongodb", "auth": "scram", "auth_query": {"user": "root", "password_file": str(secret.path)},
            "password_file": str(secret.path), "reconnect": {"retry_delay": "100ms"}})
        proxy.secrets |= {"first-word-1a2b", "second-word-3c4d", "apppw-1234"}
        app = {"username": "app", "password": "apppw-1234"}
        with MongoClient("127.0.0.1", proxy.port, **app) as client:
            client.test.things.insert_one({"_id": 1})
            with MongoClient(model.uri(), username="root", password="first-word-1a2b") as direct:
                direct.admin.command("updateUser", "root", pwd="second-word-3c4d")
            secret.write("second-word-3c4d\n")
            proxy.wait_for_log("configuration reloaded")
            old = model.primary()
            model.do("kill", how="rst")
            client.test.things.insert_one({"_id": 2})
            assert model.primary() != old
            proxy.wait_for_state("connected")
            with MongoClient(model.uri(), username="root", password="second-word-3c4d") as direct:
                direct.admin.command("createUser", "late", pwd="apppw-1234", roles=["root"])
        with MongoClient("127.0.0.1", proxy.port, username="late", password="apppw-1234") as late:
            assert late.test.things.count_documents({}) == 2


def certificate_shown(port):
    """The certificate that a client of the proxy sees, as PEM."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(struct.pack("!ii", 8, 80877103))
        assert client.recv(1) == b"S"
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(client) as secure:
            return ssl.DER_cert_to_PEM_cert(secure.getpeercert(binary_form=True))


def key_pair(authority, name, alternatives=""):
    """What a Secret of the type kubernetes.io/tls holds."""
    certificate, key = (pathlib.Path(path).read_text() for path in authority.issue(name, alternatives))
    return {"tls.crt": certificate, "tls.key": key}


def is_shown(port, pair):
    return certificate_shown(port).split() == pair["tls.crt"].split()


def test_a_rotated_certificate_is_shown_to_new_clients_and_open_sessions_go_on(server, start_holdfast, tmp_path):
    authority = Authority(tmp_path / "authority")
    first, second = key_pair(authority, "first"), key_pair(authority, "second")
    volume = Volume(tmp_path / "tls", first)
    proxy = start_holdfast(server, top=WATCHING, connection={"tls": {"cert_file": volume.path("tls.crt"), "key_file": volume.path("tls.key")}})
    client = proxy.connect(sslmode="require")
    backend = client.execute("SELECT pg_backend_pid()").fetchone()
    assert is_shown(proxy.port, first)
    volume.write(second)
    wait_for(lambda: is_shown(proxy.port, second), 10, "the new one is shown")
    assert client.execute("SELECT pg_backend_pid()").fetchone() == backend
    assert proxy.connect(sslmode="require").execute("SELECT 1").fetchone() == (1,)
    assert "error" not in proxy.log()


def test_a_rotated_certificate_that_cannot_be_used_leaves_the_old_one_in_force(server, start_holdfast, tmp_path):
    authority = Authority(tmp_path / "authority")
    first, second = key_pair(authority, "first"), key_pair(authority, "second")
    volume = Volume(tmp_path / "tls", first)
    proxy = start_holdfast(server, top=WATCHING, connection={"tls": {"cert_file": volume.path("tls.crt"), "key_file": volume.path("tls.key")}})
    volume.write({**first, "tls.crt": "no certificate\n"})
    proxy.wait_for_log(r"error.* main: cert_file \S+/tls/tls\.crt: .*: the certificates in force stay")
    assert is_shown(proxy.port, first)
    volume.write({**first, "tls.key": second["tls.key"]})
    proxy.wait_for_log(r"error.* main: key_file \S+/tls/tls\.key: .*: the certificates in force stay")
    assert is_shown(proxy.port, first)
    assert proxy.connect(sslmode="require").execute("SELECT 1").fetchone() == (1,)
    volume.write(second)
    wait_for(lambda: is_shown(proxy.port, second), 10, "the good one that follows is shown")


def ask_admin(proxy, authority, token):
    """(status, certificate) of a request to the admin port in TLS."""
    context = ssl.create_default_context(cafile=authority.certificate)
    connection = http.client.HTTPSConnection("localhost", proxy.admin_port, context=context, timeout=10)
    try:
        connection.request("GET", "/api/v1/config", headers={"Authorization": f"Bearer {token}"})
        shown = ssl.DER_cert_to_PEM_cert(connection.sock.getpeercert(binary_form=True))
        return connection.getresponse().status, shown.split()
    finally:
        connection.close()


def test_a_rotated_certificate_and_token_of_the_admin_port_hold_for_the_next_client(server, start_holdfast, tmp_path):
    authority = Authority(tmp_path / "authority")
    names = "DNS:localhost,IP:127.0.0.1"
    first, second = ({**key_pair(authority, name, names), "token": f"{name}-token\n"} for name in ("first", "second"))
    volume = Volume(tmp_path / "admin", first)
    proxy = start_holdfast(server, wait=False, top=WATCHING,
                           admin={"token_file": volume.path("token"), "tls": {"cert_file": volume.path("tls.crt"), "key_file": volume.path("tls.key")}})
    proxy.wait_for_log("connected to main")
    proxy.secrets |= {"first-token", "second-token"}
    assert ask_admin(proxy, authority, "first-token") == (200, first["tls.crt"].split())
    volume.write({**first, "tls.crt": "no certificate\n"})
    proxy.wait_for_log(r"error.* admin: cert_file \S+/admin/tls\.crt: .*: the certificate in force stays")
    assert ask_admin(proxy, authority, "first-token") == (200, first["tls.crt"].split())
    volume.write(second)
    wait_for(lambda: ask_admin(proxy, authority, "second-token") == (200, second["tls.crt"].split()), 10, "the new ones are in force")
    assert ask_admin(proxy, authority, "first-token")[0] == 401
    assert "after a restart" not in proxy.log()


def test_a_rotated_authority_of_the_server_is_believed_from_the_next_login_on_also_of_sessions_that_are_open(start_holdfast, tmp_path):
    old, new, next_one = (Authority(tmp_path / name) for name in ("old", "new", "next"))
    secure = PostgresServer("debian")
    new.issue_to_server(secure)
    secure.start()
    secure.prepare()
    try:
        trusted = Mounted(tmp_path / "ca.crt", pathlib.Path(old.certificate).read_text())
        proxy = start_holdfast(f"postgres://app@localhost:{secure.port}/app?sslmode=verify-full&sslrootcert={trusted.path}", ready=False, top=WATCHING,
                               connection={"reconnect": {"retry_delay": "100ms", "hold_timeout": "10s"}})
        wait_for(lambda: "certificate" in (proxy.state()["lastError"] or ""), 15, "it is refused")
        trusted.write(pathlib.Path(new.certificate).read_text())
        wait_for(lambda: proxy.connect().execute("SELECT 1").fetchone() == (1,), 20, "it is believed")
        # A session that was open before logs in again after a loss, and believes the next one then.
        client = proxy.connect()
        client.execute("SET search_path = extra")
        before = reloads(proxy)
        trusted.write(pathlib.Path(next_one.certificate).read_text())
        wait_for(lambda: reloads(proxy) > before, 10, "it is read")
        next_one.issue_to_server(secure)
        secure.restart("kill9")
        assert client.execute("SHOW search_path").fetchone() == ("extra",)
    finally:
        secure.close()
