"""Drivers of other languages straight on the model: each works through a stepdown and a kill as it would on a real replica set."""

import json
import os
import subprocess

import pytest
from pymongo import MongoClient

from support.mongo import ModelSet
from support.mongo_drivers import command
from support.waiting import wait_for

pytestmark = pytest.mark.fault_free


@pytest.mark.parametrize("name", ["motor", "c", "node", "go", "java"])
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
        # A driver alone retries once: Node's sometimes tells its program of the kill (ECONNRESET). Then a write may be unknown for each of the two losses.
        unknown = sum(told["errors"].values())
        assert unknown <= 2, told
        assert told["acknowledged"] <= stored["n"] <= told["acknowledged"] + unknown
        assert told["moved"] <= stored["moved"] <= told["moved"] + unknown
        assert sorted(set(stored["ids"]))[:told["acknowledged"]] == list(range(1, told["acknowledged"] + 1))
        assert len(stored["ids"]) == stored["n"]
    assert not model.problems, model.problems
