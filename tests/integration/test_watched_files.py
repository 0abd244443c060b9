"""watch_files: what Kubernetes does to a mounted ConfigMap or Secret reaches the proxy without a signal and without losing a session."""

import os
import pathlib

import psycopg
import pytest
import yaml

from expectations import assert_alive
from support.certificates import Authority
from support.waiting import wait_for


class Mounted:
    """A file of a mounted ConfigMap or Secret: a link into ..data, which is a link to a folder that is never written twice."""

    def __init__(self, path, text):
        self.path = pathlib.Path(path)
        self.folder = self.path.parent / f"..{self.path.name}"
        self.folder.mkdir()
        self._number = 0
        self.write(text)
        (self.folder / "first").symlink_to(f"{self.folder}/..data/{self.path.name}")
        os.rename(self.folder / "first", self.path)

    def write(self, text):
        """As the kubelet does it: a new folder, a new link, one rename, the old folder away."""
        before = [self.folder / f"{self._number}"]
        self._number += 1
        new = self.folder / f"{self._number}"
        new.mkdir()
        (new / self.path.name).write_text(text)
        (self.folder / "..data_tmp").symlink_to(new.name)
        os.rename(self.folder / "..data_tmp", self.folder / "..data")
        for folder in filter(pathlib.Path.is_dir, before):
            (folder / self.path.name).unlink()
            folder.rmdir()


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
    assert reloads(proxy) == 2 and str(proxy.config_path) in proxy.log()


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


def test_a_rotated_certificate_is_told_to_need_a_restart(server, start_holdfast, tmp_path):
    authority = Authority(tmp_path)
    cert, key = authority.issue("localhost")
    mounted = Mounted(tmp_path / "tls.crt", pathlib.Path(cert).read_text())
    proxy = start_holdfast(server, top=WATCHING, connection={"tls": {"cert_file": str(mounted.path), "key_file": str(key)}})
    mounted.write(pathlib.Path(cert).read_text())
    proxy.wait_for_log(r"reload: .*tls\.crt takes effect after a restart")
