"""Drivers of other languages straight on the model: each works through a stepdown and a kill as it would on a real replica set."""

import json
import os
import pathlib
import shutil
import subprocess

import pytest
from pymongo import MongoClient

from support.mongo import ModelSet
from support.postgres import CACHE
from support.waiting import wait_for

pytestmark = pytest.mark.fault_free
HERE = pathlib.Path(__file__).resolve().parent / "drivers"
BUILT = CACHE / "drivers"


def node():
    assert (BUILT / "mongo_node" / "node_modules" / "mongodb").exists()
    return [required("node"), str(HERE / "mongo_node" / "survivor.js")], {"NODE_PATH": str(BUILT / "mongo_node" / "node_modules")}


def go():
    assert (BUILT / "mongo_go" / "survivor").exists()
    return [str(BUILT / "mongo_go" / "survivor")], {}


def java():
    assert (BUILT / "mongo_java" / "Survivor.class").exists()
    return [required("java"), "-XX:TieredStopAtLevel=1", "-cp", f"{BUILT / 'mongo_java'}:{BUILT / 'mongo_java'}/*", "Survivor"], {}


def required(program):
    path = shutil.which(program)
    assert path
    return path


DRIVERS = {"node": node, "go": go, "java": java}


def command(name):
    """How the program is started; skips, with the reason of the installation, where it could not be built."""
    try:
        return DRIVERS[name]()
    except AssertionError:
        missing = CACHE / "missing"
        words = missing.read_text(encoding="utf-8").splitlines() if missing.exists() else []
        reason = next((line for line in words if line.startswith(f"mongo_{name}:")), None)
        if reason is None:
            raise
        pytest.skip(reason)


@pytest.mark.parametrize("name", DRIVERS)
def test_a_driver_works_through_a_stepdown_and_a_kill(name):
    arguments, environment = command(name)
    with ModelSet("--members", 3) as model, MongoClient(model.uri()) as client:
        program = subprocess.Popen(arguments, env={**os.environ, **environment, "URI": model.uri()}, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            assert program.stdout.readline().strip() == "ready", program.communicate()[1]
            count = lambda: client.test.survivors.find_one({"_id": name})["moved"]  # noqa: E731
            wait_for(lambda: count() >= 5, what="the first transactions")
            for fault in ("step_down", "kill"):
                before = count()
                killed = model.primary()
                model.do(fault)
                wait_for(lambda: count() >= before + 10, what=f"ten transactions after {fault}", deadline=30)
                if fault == "kill":
                    model.do("start", member=killed)
            out, errors = program.communicate(timeout=30)
        finally:
            program.kill()
        assert program.returncode == 0, errors
        told = json.loads(out.splitlines()[-1])
        stored = client.test.survivors.find_one({"_id": name})
        # A driver alone retries once: Node's sometimes tells its program of the kill (ECONNRESET). Then one write may be unknown.
        unknown = sum(told["errors"].values())
        assert unknown <= 1, told
        assert told["acknowledged"] <= stored["n"] <= told["acknowledged"] + unknown
        assert told["moved"] <= stored["moved"] <= told["moved"] + unknown
        assert sorted(set(stored["ids"]))[:told["acknowledged"]] == list(range(1, told["acknowledged"] + 1))
        assert len(stored["ids"]) == stored["n"]
    assert not model.problems, model.problems
