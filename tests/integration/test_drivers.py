"""Real drivers, each with one long-lived connection through several deaths of the server: never reconnected, nothing lost or doubled."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from support.installed import why_missing
from support.postgres import CACHE
from support.waiting import wait_for

HERE = pathlib.Path(__file__).resolve().parent / "drivers"
BUILT = CACHE / "drivers"


def jdbc():
    jars = sorted((BUILT / "jdbc").glob("postgresql-*.jar"))
    assert jars and (BUILT / "jdbc" / "Survivor.class").exists()
    return [require("java"), "-XX:TieredStopAtLevel=1", "-cp", f"{BUILT / 'jdbc'}:{jars[-1]}", "Survivor"]


def built(name):
    path = BUILT / name / "survivor"
    assert path.exists()
    return [str(path)]


def node():
    assert (BUILT / "node" / "node_modules" / "pg").exists()
    return [require("node"), str(HERE / "node" / "survivor.js")]


def python(name):
    return [sys.executable, str(HERE / name / "survivor.py")]


def require(program):
    path = shutil.which(program)
    assert path
    return path


DRIVERS = {
    "psql": lambda: [sys.executable, str(HERE / "psql" / "survivor.py")] if require("psql") else None,
    "psycopg": lambda: python("psycopg"),
    "asyncpg": lambda: python("asyncpg"),
    "jdbc": jdbc,
    "node": node,
    "pgx": lambda: built("pgx"),
    "sqlx": lambda: built("sqlx"),
}


def command(name):
    """How the driver's program is started; skips, with the reason that the installation gave, where it cannot be."""
    try:
        return DRIVERS[name]()
    except AssertionError:
        return pytest.skip(why_missing(name) or f"{name}: not installed; run deploy/install-dependencies")


@pytest.fixture
def tables(server):
    server.query("CREATE TABLE IF NOT EXISTS driver_ids (id bigint, who text); CREATE TABLE IF NOT EXISTS stop (who text);"
                 "TRUNCATE driver_ids, stop; GRANT ALL ON driver_ids, stop TO PUBLIC")
    return server


def survive(name, server, port, deaths):
    """Runs the driver's program through these deaths; what it printed. Fails where it ended early or the ids do not add up."""
    program = subprocess.Popen(command(name), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL,
                               env={**os.environ, "PORT": str(port), "NODE_PATH": str(BUILT / "node" / "node_modules")})

    def progress(beyond):
        def further():
            if program.poll() is not None:
                pytest.fail(f"{name} ended with {program.returncode}: {program.stdout.read()}")
            count = server.query("SELECT count(*) FROM driver_ids WHERE who = %s", (name,))[0][0]
            return count if count > beyond else None
        return wait_for(further, 30, f"{name} goes on after {beyond} ids")

    try:
        count = progress(0)
        for how in deaths:
            count = progress(count + 10)
            server.restart(how)
        progress(count + 10)
        server.query("INSERT INTO stop VALUES (%s)", (name,))
        told, _ = program.communicate(timeout=20)
    finally:
        program.kill()
    assert program.returncode == 0, f"{name}: {told}"
    found = re.search(r"acknowledged (\d+) setting (\w+) errors (.*)", told)
    assert found and found[2] == name, told
    ids = [one for (one,) in server.query("SELECT id FROM driver_ids WHERE who = %s ORDER BY id", (name,))]
    assert ids == list(range(1, int(found[1]) + 1)), f"lost or doubled: {told}"
    return told


@pytest.mark.timeout(90)
@pytest.mark.parametrize("name", DRIVERS)
def test_a_driver_keeps_its_connection_through_five_deaths(tables, start_holdfast, name):
    proxy = start_holdfast(tables)
    print(survive(name, tables, proxy.port, ["kill9", "kill9_all", "fast", "immediate", "kill9_all"]))
    assert proxy.disconnections() == 0


@pytest.mark.fault_free
@pytest.mark.parametrize("name", DRIVERS)
def test_a_drivers_program_counts_right_without_a_death(tables, start_holdfast, name):
    survive(name, tables, start_holdfast(tables).port, [])
