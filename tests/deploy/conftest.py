"""Fixtures of the tests of what is shipped: tools, a fresh Debian, a PostgreSQL. Nothing here knows what is expected."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support.postgres import CACHE, PostgresServer  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("HOLDFAST_BUILD", ROOT / "build" / "release"))
TOOLS = CACHE / "deploy"


def run(*command, fails=False, **words):
    """Runs a command; its output. A failure of it fails the test, with what it printed."""
    words = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL, "timeout": 240, **words}
    answer = subprocess.run([str(word) for word in command], check=False, **words)
    assert (answer.returncode != 0) == fails, f"{command} ended with {answer.returncode}:\n{answer.stdout}\n{answer.stderr}"
    return answer.stdout + (answer.stderr if fails else "")


def tool(name):
    """The path of a program that deploy/install-dependencies brings; without it the test is skipped by name."""
    for path in (TOOLS / "bin" / name, TOOLS / "venv" / "bin" / name):
        if path.exists():
            return str(path)
    found = shutil.which(name)
    if not found:
        pytest.skip(f"{name} is not installed")
    return found


def pytest_sessionfinish(session):
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter and reporter.stats.get("skipped") and not any(map(reporter.stats.get, ("passed", "failed", "error"))):
        reporter.write_line("holdfast-tests: nothing of this ran")


@pytest.fixture(scope="session")
def debian(tmp_path_factory):
    """The folder of a fresh Debian 12 that has nothing but what is essential, and apt."""
    archive = TOOLS / "debian.tar"
    if os.geteuid() != 0 or not archive.exists():
        pytest.skip("needs root and deploy/install-dependencies' Debian" if os.geteuid() else f"{archive} is not there")
    folder = tmp_path_factory.mktemp("debian")
    run("tar", "-xf", archive, "-C", folder, "--numeric-owner", "--exclude=./dev/*")
    for name in ("null", "zero", "urandom"):
        (folder / "dev" / name).touch()
        run("mount", "--bind", f"/dev/{name}", folder / "dev" / name)
    # The loader finds $ORIGIN by /proc/self/exe.
    run("mount", "-t", "proc", "proc", folder / "proc")
    shutil.copy("/etc/resolv.conf", folder / "etc/resolv.conf")
    (folder / "etc/apt/apt.conf.d/80retries").write_text('Acquire::Retries "5";\n')  # a mirror that hiccups fails no test
    yield folder
    for name in ("null", "zero", "urandom"):
        run("umount", folder / "dev" / name)
    run("umount", folder / "proc")
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def server():
    """A PostgreSQL that runs."""
    started = PostgresServer("debian")
    started.start()
    started.prepare()
    yield started
    started.close()
