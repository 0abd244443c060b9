"""Programs of several drivers, each unchanged but for host and port, through kills and stepdowns behind holdfast: not one error, nothing lost."""

import json
import os
import subprocess

import pytest
from pymongo import MongoClient

from support.mongo_drivers import DRIVERS, command

LOSSES = 100 if os.environ.get("HOLDFAST_SUITES") == "all" else 20


class Survivor:
    """A driver's program at work on `uri`; `finish` ends it and gives what it was told."""

    def __init__(self, name, uri, model):
        arguments, environment = command(name)
        self.name, self.model = name, model
        self.direct = MongoClient(model.uri())
        self.program = subprocess.Popen(arguments, env={**os.environ, **environment, "URI": uri}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        assert self.program.stdout.readline().strip() == "ready", self.program.communicate()[1]

    def stored(self):
        return self.direct.test.survivors.find_one({"_id": self.name})

    def goes_on(self, after):
        before = self.stored()["moved"]
        self.model.wait_for(lambda: self.stored()["moved"] >= before + 5, 30.0, f"five transactions of {self.name} after {after}")

    def finish(self):
        out, errors = self.program.communicate(timeout=30)
        assert self.program.returncode == 0, errors
        return json.loads(out.splitlines()[-1])

    def close(self):
        self.program.kill()
        self.program.wait()
        self.direct.close()


def strike(model, order):
    """One loss; the set is whole again when it returns."""
    primary = model.primary()
    model.do(order, **({"seconds": 1.0} if order == "step_down" else {}))
    if order == "kill":
        model.wait_for(lambda: model.primary() is not None, what="another primary")
        model.do("start", member=primary)
    model.wait_for(model.whole, what="a whole set")


def survive(start_holdfast, start_set, name, losses, options=""):
    with start_set() as model:
        proxy = start_holdfast(model.uri(), connection={"type": "mongodb"})
        survivor = Survivor(name, f"mongodb://127.0.0.1:{proxy.port}/{options}", model)
        try:
            survivor.goes_on("its start")
            for number in range(losses):
                order = ("step_down", "kill")[number % 2]
                strike(model, order)
                survivor.goes_on(f"loss {number + 1}, {order}")
            told = survivor.finish()
            stored = survivor.stored()
        finally:
            survivor.close()
        assert told["errors"] == {}, told
        assert stored["n"] == told["acknowledged"]
        assert stored["moved"] == told["moved"]
        assert stored["ids"] == list(range(1, told["acknowledged"] + 1))
        assert proxy.disconnections() == 0
    assert not model.problems, model.problems


@pytest.mark.timeout(120 + 15 * LOSSES)
@pytest.mark.parametrize("name", DRIVERS)
def test_an_unchanged_program_runs_through_stepdowns_and_kills_without_one_error(start_holdfast, start_set, name):
    survive(start_holdfast, start_set, name, LOSSES)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", [name for name in DRIVERS if name != "motor"])  # which is PyMongo
def test_so_does_one_that_takes_holdfast_for_a_load_balancer(start_holdfast, start_set, name):
    survive(start_holdfast, start_set, name, 4, "?loadBalanced=true")
