"""The container image: its files alone are enough to run, read-only and without a privilege; its size, its list, its settings."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess

import psycopg
import pytest

from conftest import ROOT, run, tool
from support.certificates import Authority
from support.holdfast import BINARY
from support.postgres import PostgresServer
from support.waiting import free_port, wait_for

DOCKERFILE = ROOT / "deploy/Dockerfile"
SIZE_MAX = 40_000_000  # bytes
USER = 65532


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The folder that the image's only layer is made of, by the build stage's own command."""
    folder = tmp_path_factory.mktemp("image") / "image"
    run(ROOT / "deploy/image/collect", BINARY, folder)
    return folder


def size(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def test_hadolint_finds_nothing():
    assert run(tool("hadolint"), DOCKERFILE) == ""


def test_it_is_small_and_has_no_shell(files):
    bytes_ = size(files)
    print(f"image: {bytes_ / 1e6:.1f} MB")
    assert bytes_ < SIZE_MAX, bytes_
    programs = [path for path in files.rglob("*") if path.is_file() and not path.is_symlink() and os.access(path, os.X_OK) and ".so" not in path.name]
    assert [str(path.relative_to(files)) for path in programs] == ["usr/bin/holdfast"]


def test_every_file_is_in_a_valid_spdx_document_with_the_package_that_it_came_from(files):
    path = files / "usr/share/sbom/holdfast.spdx.json"
    run(tool("pyspdxtools"), "-i", path)
    document = json.loads(path.read_text())
    listed = {entry["fileName"] for entry in document["files"]}
    present = {f"./{path.relative_to(files)}" for path in files.rglob("*") if path.is_file() and not path.is_symlink()}
    assert present - listed == {f"./{path.relative_to(files)}"} | {name for name in present if name.endswith("/copyright")}
    names = {package["name"] for package in document["packages"]}
    assert {"holdfast", "libc6", "libssl3", "libpq5", "ca-certificates"} <= names
    for name in names - {"holdfast"}:
        assert (files / "usr/share/doc" / name / "copyright").read_text().strip(), name


class Container:
    """The image's files as a root that nothing can be written to, another user without a privilege, the Dockerfile's command."""

    def __init__(self, folder, *arguments):
        script = ('mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && root=$1 && shift && '
                  'exec setpriv --no-new-privs --pdeathsig KILL chroot --userspec=65532:65532 "$root" "$@"')
        self._command = ["unshare", "--mount", "sh", "-c", script, "sh", folder]
        self.process = subprocess.Popen([*self._command, "/usr/bin/holdfast", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, env={"HOLDFAST_WATCH_FILES": "on", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})

    def run(self, *command):
        return subprocess.run([*self._command, *command], capture_output=True, text=True, check=False, timeout=20,
                              env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})

    def status(self):
        """The names and values of /proc/PID/status, once the shell has become holdfast."""
        def fields():
            text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
            return text.startswith("Name:\tholdfast\n") and dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
        return wait_for(fields, 10, "holdfast runs")

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=10)
        finally:
            self.process.kill()


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: chroot, mount")


@needs_root
def test_it_serves_with_nothing_but_its_files_read_only_and_without_a_privilege(files, server):
    port, admin = free_port(), free_port()
    container = Container(files, "run", "--upstream", server.uri(), "--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}")
    status = container.status()
    assert status["Uid"].split() == [str(USER)] * 4
    assert status["NoNewPrivs"] == "1" and int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0

    healthcheck = json.loads(re.search(r"^HEALTHCHECK .* CMD (\[.*\])$", DOCKERFILE.read_text(), re.MULTILINE)[1])
    wait_for(lambda: container.run(*healthcheck, "--admin", f"127.0.0.1:{admin}").returncode == 0, 10, "it is healthy")
    with psycopg.connect(host="127.0.0.1", port=port, user="app", dbname="app", sslmode="disable") as client:
        client.autocommit = True
        assert client.execute("SELECT 40 + 2").fetchone() == (42,)
        server.restart("kill9")
        assert client.execute("SELECT 40 + 2").fetchone() == (42,)
    assert container.end() == 0, container.process.stdout.read()
    assert container.run(*healthcheck, "--admin", f"127.0.0.1:{admin}").returncode == 1


@needs_root
def test_it_knows_the_systems_authorities(files, tmp_path):
    """sslrootcert=system: here with one more authority, that of a server of ours."""
    copy = tmp_path / "image"
    shutil.copytree(files, copy, symlinks=True)
    (copy / "etc/hosts").write_text("127.0.0.1 localhost\n")  # as every runtime mounts one
    authority = Authority(tmp_path / "authority")
    secure = PostgresServer("debian")
    authority.issue_to_server(secure)
    secure.start()
    try:
        for trusted in (False, True):
            if trusted:
                with open(copy / "etc/ssl/certs/ca-certificates.crt", "a", encoding="ascii") as bundle:
                    bundle.write(pathlib.Path(authority.certificate).read_text())
            port, admin = free_port(), free_port()
            uri = f"postgres://postgres@localhost:{secure.port}/postgres?sslmode=verify-full&sslrootcert=system"
            container = Container(copy, "run", "--upstream", uri, "--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}")
            container.status()
            look = ["/usr/bin/holdfast", "status", "--json", "--admin", f"127.0.0.1:{admin}"]
            if trusted:
                wait_for(lambda: '"isConnected":true' in container.run(*look).stdout, 15, "the certificate is trusted")
            else:
                wait_for(lambda: "certificate" in container.run(*look).stdout, 15, "the certificate is refused")
            assert container.end() == 0
    finally:
        secure.close()


@needs_root
def test_buildah_makes_the_last_stage_with_the_settings_that_a_cluster_wants(files, tmp_path):
    """The build stage is replaced by its result; `deploy/check --full` builds all of it."""
    text = DOCKERFILE.read_text()
    last = text[text.index("\nFROM scratch"):]
    (tmp_path / "Dockerfile").write_text("FROM scratch AS build\nCOPY image /image\n" + last)
    shutil.copytree(files, tmp_path / "image", symlinks=True)
    buildah = [tool("buildah"), "--storage-driver", "vfs", "--root", tmp_path / "storage", "--runroot", tmp_path / "run"]
    run(*buildah, "build", "--isolation", "chroot", "--format", "docker", "-t", "holdfast", tmp_path)
    image = json.loads(run(*buildah, "inspect", "--type", "image", "holdfast"))
    config = image["Docker"]["config"]
    assert config["User"] == f"{USER}:{USER}"
    assert (config["Entrypoint"], config["Cmd"]) == (["/usr/bin/holdfast"], ["run"])
    assert set(config["ExposedPorts"]) == {"6432/tcp", "9930/tcp"}
    assert "HOLDFAST_WATCH_FILES=on" in config["Env"]
    assert config["Healthcheck"]["Test"] == ["CMD", "/usr/bin/holdfast", "health"]
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    version = run(BINARY, "--version").split()[-1]
    assert config["Labels"]["org.opencontainers.image.version"] == version

    container = run(*buildah, "from", "--pull-never", "holdfast").strip()
    mounted = pathlib.Path(run(*buildah, "mount", container).strip())
    in_image = {str(path.relative_to(mounted)) for path in mounted.rglob("*") if not path.is_dir()}
    assert in_image == {str(path.relative_to(files)) for path in files.rglob("*") if not path.is_dir()}
    run(*buildah, "rm", container)
