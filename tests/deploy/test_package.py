"""The Debian package: what lintian and systemd say of it, and its life in a fresh Debian: installed, run as the unit says, removed."""

import re
import shutil
import signal
import subprocess

import psycopg
import pytest
import yaml

from conftest import BUILD, ROOT, run, tool
from support.service_manager import ServiceManager
from support.waiting import free_port, wait_for

UNIT = ROOT / "deploy/systemd/holdfast.service"
SOCKET = ROOT / "deploy/systemd/holdfast.socket"
# Nobody's number on this machine: what DynamicUser would take.
USER = 61184


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("package")
    run("cpack", "--config", BUILD / "CPackConfig.cmake", "-G", "DEB", "-B", folder)
    found = list(folder.glob("holdfast_*.deb"))
    assert len(found) == 1, found
    return found[0]


def unit_lines(key):
    """The values of a key of the unit, in order."""
    return re.findall(rf"^{key}=(.*)$", UNIT.read_text(), re.MULTILINE)


def in_root(debian, *command, **words):
    return run("chroot", debian, "env", "DEBIAN_FRONTEND=noninteractive", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *command, **words)


@pytest.fixture(scope="module")
def installed(debian, package):
    shutil.copy(package, debian / "holdfast.deb")
    in_root(debian, "apt-get", "update", "-qq")
    in_root(debian, "apt-get", "install", "-y", "-qq", "--no-install-recommends", "/holdfast.deb")
    return debian


def test_lintian_finds_nothing(package):
    answer = run(tool("lintian"), "--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0", package)
    assert not re.search(r"^[EW]:", answer, re.MULTILINE), answer


def test_it_depends_on_debians_libraries_and_carries_none(package):
    depends = run("dpkg-deb", "-f", package, "Depends")
    for library in ("libc6", "libpq5", "libssl3", "libpg-query", "libyaml-cpp0.7"):
        assert re.search(rf"\b{re.escape(library)}", depends), depends
    names = run("dpkg-deb", "-c", package)
    assert not re.search(r"\.so\b", names)
    for path in ("./usr/bin/holdfast", "./lib/systemd/system/holdfast.service", "./lib/systemd/system/holdfast.socket", "./etc/holdfast/holdfast.yaml", "./usr/share/man/man1/holdfast.1.gz",
                 "./usr/share/bash-completion/completions/holdfast", "./usr/share/zsh/vendor-completions/_holdfast"):
        assert f" {path}\n" in names, (path, names)


def complaint_of_systemd(installed, source, right, wrong):
    """Of a unit in which `right` was made `wrong`; as it is installed, systemd-analyze has nothing to say of it."""
    in_root(installed, "apt-get", "install", "-y", "-qq", "--no-install-recommends", "systemd", "procps")
    # Without --man=no it would run a man that a bare Debian has not.
    assert in_root(installed, "systemd-analyze", "verify", "--man=no", source.name) == ""
    unit = installed / "lib/systemd/system" / source.name
    assert right in unit.read_text()
    unit.write_text(unit.read_text().replace(right, wrong))
    said = run("chroot", installed, "sh", "-c", f"systemd-analyze verify --man=no {source.name} 2>&1; exit 0")
    shutil.copy(source, unit)
    return said


def test_systemd_verifies_the_unit_and_calls_it_well_protected(installed):
    assert "DynamicUsers" in complaint_of_systemd(installed, UNIT, "DynamicUser=yes", "DynamicUsers=yes")
    table = run(tool("systemd-analyze"), "security", "--offline=true", "--threshold=15", UNIT)
    level = float(re.search(r"exposure level for holdfast.service: (\S+)", table)[1])
    assert level <= 1.5, table


def test_systemd_verifies_the_socket_and_it_binds_what_the_default_configuration_listens_on(installed):
    assert "nowhere" in complaint_of_systemd(installed, SOCKET, "ListenStream=127", "ListenStream=nowhere 127")
    bound = re.findall(r"^ListenStream=(.*)$", SOCKET.read_text(), re.MULTILINE)
    assert bound == [each["listen"] for each in yaml.safe_load((installed / "etc/holdfast/holdfast.yaml").read_text())["connections"]]


@pytest.fixture
def service(installed, server):
    """The installed program as the unit starts it: its command line, another user, a service manager that is told."""
    port, admin = free_port(), free_port()
    config = installed / "etc/holdfast/holdfast.yaml"
    default = config.read_text()
    config.write_text(default.replace("127.0.0.1:6432", f"127.0.0.1:{port}").replace("#admin:\n#  listen: 127.0.0.1:9930 ", f"admin:\n  listen: 127.0.0.1:{admin} ")
                      .replace("postgres://127.0.0.1:5432/postgres\n", f"{server.uri()}\n    auth: trust\n"))
    assert config.read_text().count(str(port)) == 1 and str(admin) in config.read_text() and "auth: trust" in config.read_text()
    manager = ServiceManager(installed / "run/notify")
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "chroot", f"--userspec={USER}:{USER}", installed, "/usr/bin/env", "-i", "NOTIFY_SOCKET=/run/notify", "WATCHDOG_USEC=500000",
         *unit_lines("ExecStart")[0].split()], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield process, manager, port, config
    finally:
        process.kill()
        process.wait()
        manager.close()
        config.write_text(default)


def ask(port):
    with psycopg.connect(host="127.0.0.1", port=port, user="app", dbname="app", sslmode="disable", connect_timeout=10) as client:
        return client.execute("SELECT 40 + 2").fetchone()[0]


def test_the_installed_service_tells_systemd_that_it_is_ready_lives_reloads_and_ends(installed, service):
    process, manager, port, config = service
    manager.wait_for("READY")
    assert ask(port) == 42
    manager.wait_for("WATCHDOG", times=3)

    check, kill = unit_lines("ExecReload")
    assert kill == "/bin/kill -HUP $MAINPID"
    in_root(installed, *check.split())
    process.send_signal(signal.SIGHUP)
    manager.wait_for("RELOADING")
    manager.wait_for("READY", times=2)
    assert ask(port) == 42

    config.write_text(config.read_text() + "connectoins: []\n")
    assert "connectoins" in in_root(installed, *check.split(), fails=True)

    process.send_signal(signal.SIGTERM)
    stopping = manager.wait_for("STOPPING")
    assert int(stopping["EXTEND_TIMEOUT_USEC"]) > 25_000_000
    assert process.wait(timeout=10) == 0, process.stdout.read()


def test_the_default_configuration_is_valid_and_every_commented_key_is_one(installed):
    in_root(installed, "/usr/bin/holdfast", "check", "-c", "/etc/holdfast/holdfast.yaml")
    text = (installed / "etc/holdfast/holdfast.yaml").read_text()
    # Its examples name files that are not there: those lines stay as they are.
    loud = re.sub(r"^( *)#(\w+:|  \w+:)", lambda match: match[1] + match[2], text, flags=re.MULTILINE)
    loud = "\n".join(line for line in loud.splitlines() if not re.search(r"(token_file|password_file|tls|upstream: .*db-0)", line))
    (installed / "tmp/loud.yaml").write_text(loud)
    assert loud.count("#") < text.count("#") - 15
    in_root(installed, "/usr/bin/holdfast", "check", "-c", "/tmp/loud.yaml")


def test_an_installation_starts_nothing_and_a_removal_keeps_what_the_administrator_wrote(installed, package):
    assert not list((installed / "etc/systemd").rglob("*holdfast*"))
    config = installed / "etc/holdfast/holdfast.yaml"
    config.write_text(config.read_text() + "# mine\n")
    in_root(installed, "dpkg", "--force-confold", "--install", "/holdfast.deb")  # an upgrade to the same version
    assert config.read_text().endswith("# mine\n")
    in_root(installed, "apt-get", "remove", "-y", "-qq", "holdfast")
    assert config.exists() and not (installed / "usr/bin/holdfast").exists()
    in_root(installed, "dpkg", "--purge", "holdfast")
    wait_for(lambda: not config.exists(), 1, "the configuration is gone")
