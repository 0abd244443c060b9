"""The tarball: it runs in a bare Debian, which has none of its libraries, and asks nothing newer of glibc than it says."""

import os
import re
import subprocess

import psycopg
import pytest

from conftest import ROOT, run, tool
from support.holdfast import BINARY
from support.waiting import free_port, wait_for

GLIBC = (2, 36)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: chroot")


@pytest.fixture(scope="module")
def unpacked(debian, tmp_path_factory):
    """Its folder in the bare Debian, as seen from outside."""
    tool("patchelf")
    archive = run(ROOT / "deploy/tarball", BINARY, tmp_path_factory.mktemp("tarball")).strip()
    print(f"tarball: {os.path.getsize(archive) / 1e6:.1f} MB")
    (debian / "opt").mkdir(exist_ok=True)
    run("tar", "-xzf", archive, "-C", debian / "opt")
    folder, = (debian / "opt").iterdir()
    return folder


def test_it_serves_where_nothing_of_it_is_installed(debian, unpacked, server):
    inside = f"/opt/{unpacked.name}/bin/holdfast"
    assert "libpq" not in run("chroot", debian, "/sbin/ldconfig", "-p")
    port, admin = free_port(), free_port()
    process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "/usr/sbin/chroot", "--userspec=65532:65532", debian, inside, "run", "--upstream", server.uri(),
                                "--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        def ask():
            with psycopg.connect(host="127.0.0.1", port=port, user="app", dbname="app", sslmode="disable") as client:
                return client.execute("SELECT 40 + 2").fetchone() == (42,)
        wait_for(ask, 10, "it serves")
        process.terminate()
        assert process.wait(timeout=10) == 0
    finally:
        process.kill()


def test_nothing_in_it_needs_a_newer_glibc_or_a_library_of_the_system(debian, unpacked):
    for path in [unpacked / "bin/holdfast", *(unpacked / "lib/holdfast").iterdir()]:
        wanted = {tuple(map(int, version.split("."))) for version in re.findall(r"GLIBC_([\d.]+)", run("objdump", "-T", path))}
        assert max(wanted) <= GLIBC, (path.name, max(wanted))
    loaded = run("chroot", debian, "/usr/bin/ldd", f"/opt/{unpacked.name}/bin/holdfast")
    assert "not found" not in loaded
    for path in re.findall(r"=> (\S+)", loaded):
        assert path.startswith(f"/opt/{unpacked.name}/") or re.search(r"/(libc|libm|libresolv|ld-linux-x86-64)\.so\.", path), path


def test_it_brings_the_licence_of_everything_in_it(unpacked):
    assert len(list((unpacked / "share/doc").glob("*/copyright"))) > 20
    assert (unpacked / "LICENSE").exists() and (unpacked / "share/man/man1/holdfast.1").exists()
