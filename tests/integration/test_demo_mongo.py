"""`holdfast demo mongodb`, a short run of it: zeros at the end, and without holdfast between the same demo must find what its clients lose."""

import os
import re
import shutil
import subprocess

import pytest

from support.holdfast import BINARY
from support.mongo import TESTS

MODEL = TESTS / "support" / "mongo-model"
SECONDS = 12

pytestmark = pytest.mark.timeout(120)


def demo(*arguments, program=BINARY, **variables):
    environment = {name: value for name, value in os.environ.items() if name != "MONGOD"}
    return subprocess.run([str(program), *map(str, arguments)], capture_output=True, text=True, timeout=100, check=False,
                          stdin=subprocess.DEVNULL, env={**environment, **variables})


def row(table, name):
    """The value of a row of the final table."""
    return re.search(rf"^{name}  +(.*)$", table, re.MULTILINE)[1]


def test_no_client_of_the_demo_is_disconnected_and_no_write_lost_or_doubled():
    done = demo("demo", "mongodb", "--for", f"{SECONDS}s", "--model", MODEL)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("disconnections", "wrong answers", "writes lost", "writes doubled"):
        assert row(done.stdout, name) == "0", done.stdout
    assert int(row(done.stdout, "writes acknowledged")) > 50
    assert re.match(r"\d+ \(primary killed [1-9]\d* times, stepped down [1-9]", row(done.stdout, "outages")), done.stdout
    assert int(row(done.stdout, "change events").split()[0]) > 50
    assert "mongod" in row(done.stdout, "database"), "it says on what it ran"


def test_the_same_clients_alone_are_disconnected_and_the_demo_says_so():
    done = demo(BINARY, 5000, "finish", MODEL, "direct", program=BINARY.parent / "holdfast-demo-mongodb")
    assert done.returncode == 1, done.stdout + done.stderr
    assert int(row(done.stdout, "disconnections")) > 0
    assert re.search(r"FAILED: \d+ times a client was disconnected", done.stdout)


def test_a_holdfast_without_the_demos_program_beside_it_says_so(tmp_path):
    shutil.copy(BINARY, tmp_path / "holdfast")
    done = demo("demo", "mongodb", "--model", MODEL, program=tmp_path / "holdfast")
    assert done.returncode == 1
    assert "cannot start" in done.stderr and "is built from the sources" in done.stderr, done.stderr


@pytest.mark.parametrize("arguments,variables,words", [
    ((), {"PATH": "/nowhere"}, "put mongod on PATH or set MONGOD, or give --model PATH"),
    (("--model", "/nowhere/model"), {"PATH": "/nowhere"}, "--model is /nowhere/model, which is no program"),
    ((), {"MONGOD": "/nowhere/mongod"}, "MONGOD is /nowhere/mongod, which is no program"),
    ((), {"MONGOD": "/bin/false"}, "/bin/false has ended"),
])
def test_without_a_server_the_demo_says_what_it_needs(arguments, variables, words):
    done = demo("demo", "mongodb", *arguments, **variables)
    assert done.returncode == 1
    assert words in done.stderr, done.stderr
