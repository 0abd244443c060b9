"""Replica sets that tests drive: what all kinds share, and the model, a process of its own with a control port."""

import json
import select
import socket
import subprocess
import sys
import time
from pathlib import Path

from pymongo import MongoClient

from support import processes
from support.waiting import wait_for

TESTS = Path(__file__).resolve().parent.parent


class ReplicaSet:
    """What tests may ask of any set. Kinds have `members`, `mongos`, `name`, `ready`, and `ask`, which takes the orders of
    mongo_model/README.md."""

    # How many times as long as the model a set may take to elect, to start, to catch up.
    patience = 1
    # Whether it takes the order `history`: says what was applied, rolled back and lost.
    keeps_history = True

    def ask(self, order, **more):
        """One order; {"ok": True, …}, or {"ok": False, "error": …}."""
        raise NotImplementedError

    def do(self, order, **more):
        """Sends one order and returns its answer; an order that fails is an assertion error."""
        answer = self.ask(order, **more)
        assert answer["ok"], f"{order} {more}: {answer['error']}"
        return answer

    def wait_for(self, condition, deadline=10.0, what=None):
        """wait_for, as long as this kind of set may need."""
        return wait_for(condition, deadline * self.patience, what)

    def lose(self, order="kill", **more):
        """One loss. Who is alone comes back, because nobody would be elected in its place."""
        self.do(order, **more)
        if order in ("kill", "stop") and len(self.members) == 1:
            self.do("start", member=0)

    def has_executed(self, command):
        """Whether the newest thing that it did for a client was this command."""
        return any(command in entry["command"] for entry in self.do("history")["entries"][-1:])

    def state(self, member=None):
        state = self.do("state")
        return state if member is None else state["members"][member]

    def primary(self):
        """The writable primary's number, or None."""
        return self.state()["primary"]

    def direct(self, number, **options):
        """A client of this one member."""
        return MongoClient("mongodb://" + self.members[number], directConnection=True, **options)

    def whole(self):
        """One writable primary that all others follow."""
        roles = sorted(one["role"] for one in self.state()["members"])
        return self.primary() is not None and roles == ["primary"] + ["secondary"] * (len(roles) - 1)

    def settled(self):
        """Whether all members hold all that the only primary has."""
        members = self.state()["members"]
        return (self.primary() is not None and len({one["log"] for one in members}) == 1
                and [one["role"] for one in members].count("primary") == 1)

    def restore(self, deadline=10.0):
        """Undoes faults: every member runs, delayed by nothing, and follows one primary within `deadline` seconds (of the model)."""
        for number, member in enumerate(self.state()["members"]):
            if not member["running"]:
                self.do("start", member=number)
            self.do("thaw", member=number, silent=0)
            self.do("delay", member=number, ms=0)
        self.do("heal")
        self.do("lag", ms=0)
        self.wait_for(self.settled, deadline, "a primary that all follow")

    def uri(self, **options):
        wanted = {**({"replicaSet": self.name} if self.name else {}), **options}
        query = "&".join(f"{name}={value}" for name, value in wanted.items())
        return f"mongodb://{','.join(self.members)}/" + (f"?{query}" if query else "")

    def close(self):
        raise NotImplementedError

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class ModelSet(ReplicaSet):
    """`python -m support.mongo_model` with these arguments; a context manager."""

    def __init__(self, *arguments, deadline=10.0):
        self.process = subprocess.Popen([sys.executable, "-m", "support.mongo_model", *map(str, arguments)], cwd=TESTS,
                                        env=processes.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        started = time.monotonic()
        if not select.select([self.process.stdout], [], [], deadline)[0]:
            self.process.kill()
            raise AssertionError(f"the model set said nothing within {deadline} s: {self.process.communicate()[1].decode()}")
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"the model set did not start: {self.process.communicate()[1].decode()}")
        self.start_seconds = time.monotonic() - started
        self.ready = json.loads(line)
        self.members = self.ready["members"]
        self.mongos = self.ready["mongos"]
        self.name = self.ready["set"]
        self._control = socket.create_connection(("127.0.0.1", self.ready["control"]), timeout=30)
        self._lines = self._control.makefile("rwb")

    def ask(self, order, **more):
        self._lines.write(json.dumps({"do": order, **more}).encode() + b"\n")
        self._lines.flush()
        return json.loads(self._lines.readline())

    def close(self):
        for stream in (self._lines, self._control):
            stream.close()
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.problems = self.process.stderr.read().decode()
        self.process.stdout.close()
        self.process.stderr.close()

    problems = ""
