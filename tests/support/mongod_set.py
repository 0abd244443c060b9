"""A replica set of real mongods, each behind a relay, that takes the orders of the model set.

What a server can do itself it is asked for (replSetStepDown, replSetStepUp, stopReplProducer, shutdown) or made to by signals; what befalls
a command, a connection or the network is done by `member_relay`. An order that needs a model skips the test that gives it.
"""

import math
import os
import pathlib
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import bson
import pytest

from support import processes
from support.member_relay import Network, body_of, op_msg
from support.mongo import ReplicaSet
from support.waiting import free_port, wait_for

SET = "rs0"
START_SECONDS = 60.0
# Heartbeats well within the time after which a secondary stands for election; servers take 2 s and 10 s by themselves.
SETTINGS = {"heartbeatIntervalMillis": 500, "electionTimeoutMillis": 2000, "catchUpTimeoutMillis": 2000}
NO_ELECTABLE, NO_SUCH_COMMAND, SHUTTING_DOWN = 262, 59, (91, 11600)
UNABLE = {
    "history": "it keeps no account of what it applied, rolled back and lost",
    "truncate_history": "its memory of retryable writes cannot be made to end",
    "set": "its settings are its own",
}


def program():
    """The words that run a mongod: MONGOD, or the one on PATH; None where there is none."""
    named = os.environ.get("MONGOD")
    if not named:
        found = shutil.which("mongod")
        return [found] if found else None
    return [named] if os.path.exists(named) else shlex.split(named)


def members_wanted():
    return int(os.environ.get("MONGOD_MEMBERS", "3"))


class Refused(AssertionError):
    """A command that a server answered with an error."""

    def __init__(self, reply):
        super().__init__(f"{reply.get('code')} {reply.get('codeName')}: {reply.get('errmsg')}")
        self.code = reply.get("code")


def run(port, command, seconds=5.0):
    """One command of the database `admin` on a connection of its own, without a driver that would try again."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection, connection.makefile("rb") as stream:
        connection.sendall(op_msg({**command, "$db": "admin"}))
        head = stream.read(4)
        rest = stream.read(int.from_bytes(head, "little") - 4) if len(head) == 4 else b""
    if not rest:
        raise ConnectionError(f"no answer to {next(iter(command))}")
    reply = bson.decode(body_of(2013, head + rest))
    if reply.get("ok") != 1:
        raise Refused(reply)
    return reply


class Mongod:
    """One process of the set: its folder, its log, its life."""

    def __init__(self, words, folder, number):
        self.words = words
        self.port = free_port()
        self.data, self.log = folder / f"data{number}", folder / f"mongod{number}.log"
        self.data.mkdir()
        self.process = None
        self.frozen = False
        self.expected_end = True
        self.role = "down"

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def spawn(self):
        """In the network's thread, which lives as long as the set: the process dies with the thread that started it."""
        arguments = ["--dbpath", self.data, "--port", self.port, "--bind_ip", "127.0.0.1", "--replSet", SET, "--nounixsocket",
                     "--setParameter", "enableTestCommands=1", "--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "256",
                     "--networkMessageCompressors", "disabled"]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *self.words, *map(str, arguments)],
                                            env=processes.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        self.frozen = False
        self.expected_end = False

    def tail(self):
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-15:])

    def wait_until_it_answers(self):
        def answers():
            return run(self.port, {"hello": 1}, seconds=1.0)
        end = time.monotonic() + START_SECONDS
        while True:
            if not self.running:
                raise AssertionError(f"{' '.join(self.words)} ended with {self.process.returncode}:\n{self.tail()}")
            try:
                return answers()
            except (OSError, Refused) as error:
                if time.monotonic() > end:
                    raise AssertionError(f"{' '.join(self.words)} does not answer ({error}):\n{self.tail()}") from None
                time.sleep(0.05)

    def kill(self):
        self.expected_end = True
        if self.running:
            self.process.kill()
        if self.process:
            self.process.wait(30)
        self.frozen = False


class MongodSet(ReplicaSet):
    """`words` run a mongod, `members` is how many; what the model is started with means nothing here. A context manager."""

    patience = 6
    keeps_history = False

    def __init__(self, *_, words=None, members=None):
        words, members = words or program(), members or members_wanted()
        assert words, "no mongod on PATH, MONGOD not set"
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix="holdfast-mongod-"))
        self._mongods = [Mongod(words, self._folder, number) for number in range(members)]
        self._network = Network([one.port for one in self._mongods])
        self._relays = self._network.relays
        self.members = [f"127.0.0.1:{one.port}" for one in self._relays]
        self.mongos, self.name, self.problems = [], SET, ""
        self._held = set()
        started = time.monotonic()
        try:
            for mongod, relay in zip(self._mongods, self._relays):
                self._network.call(relay.listen)
                self._network.call(mongod.spawn)
            for mongod in self._mongods:
                mongod.wait_until_it_answers()
            self._initiate()
            hello, build = (run(self._mongods[0].port, {name: 1}) for name in ("hello", "buildInfo"))
        except BaseException:
            self.close()
            raise
        self.start_seconds = time.monotonic() - started
        self.ready = {"members": self.members, "set": SET, "mongos": [], "control": None, "wire": hello["maxWireVersion"],
                      "version": build["version"], "pid": self._mongods[0].process.pid}

    def _initiate(self):
        config = {"_id": SET, "members": [{"_id": number, "host": address} for number, address in enumerate(self.members)],
                  "settings": SETTINGS}
        try:
            run(self._mongods[0].port, {"replSetInitiate": config}, seconds=START_SECONDS)
            wait_for(self.whole, START_SECONDS, "a primary that all follow")
        except (AssertionError, OSError) as error:
            raise AssertionError(f"{error}\n{self._mongods[0].tail()}") from None

    def close(self):
        ended = [one for one in self._mongods if not one.expected_end and not one.running]
        self.problems = "\n".join(f"a mongod ended by itself, with {one.process.returncode}:\n{one.tail()}" for one in ended)
        for one in self._mongods:
            one.kill()
        self._network.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    # Orders

    def ask(self, order, **more):
        if order in UNABLE:
            pytest.skip(f"{order}: a real mongod is asked, and {UNABLE[order]}")
        action = getattr(self, f"_do_{order}", None)
        if action is None:
            return {"ok": False, "error": f"unknown order {order!r}"}
        try:
            return {"ok": True, **(action(more) or {})}
        except (AssertionError, OSError, subprocess.TimeoutExpired) as error:
            return {"ok": False, "error": f"{type(error).__name__}: {error}"}

    def has_executed(self, command):
        """Only of a command whose answer a delay holds back."""
        return any(command in relay.held_back for relay in self._relays)

    def restore(self, deadline=10.0):
        for mongod in self._mongods:
            if mongod.frozen:
                self._thaw(mongod)
        for mongod in self._mongods:
            for command in ({"replSetFreeze": 0},  # who stepped down may be elected again
                            {"replSetMaintenance": False}, {"configureFailPoint": "failCommand", "mode": "off"}):
                try:
                    run(mongod.port, command)
                except (Refused, OSError):
                    pass  # it has nothing to undo, or does not run
        for relay in self._relays:
            self._network.call(lambda one=relay: self._network.change(one, delays=[], after=[], cut_at=None))
        super().restore(deadline)

    def _number(self, order):
        which = order.get("member", "primary")
        if which == "primary":
            found = self.primary()
            assert found is not None, "there is no primary"
            return found
        return self.members.index(which) if isinstance(which, str) else which

    def _chosen(self, order):
        number = self._number(order)
        return self._mongods[number], self._relays[number]

    def _all_or(self, order):
        return [self._number(order)] if "member" in order else range(len(self.members))

    def _change(self, relay, **values):
        self._network.call(lambda: self._network.change(relay, **values))

    # The life of a process

    def _do_kill(self, order):
        mongod, relay = self._chosen(order)
        reset = order.get("how", "rst") == "rst"
        self._network.call(relay.unlisten, reset)
        mongod.kill()
        self._network.call(relay.drop, reset)

    def _do_start(self, order):
        mongod, relay = self._chosen(order)
        if not mongod.running:
            self._network.call(relay.listen)
            self._network.call(mongod.spawn)
            mongod.wait_until_it_answers()

    def _do_stop(self, order):
        """By the command: from 5.0 on its timeoutSecs is the quiet time, too, which a signal's would make 15 s."""
        mongod, relay = self._chosen(order)
        mongod.expected_end = True
        try:
            run(mongod.port, {"shutdown": 1, "force": True, "timeoutSecs": 2}, seconds=START_SECONDS)
        except ConnectionError:
            pass  # it has no time to answer
        except Refused as refused:
            if refused.code not in SHUTTING_DOWN:
                raise
        mongod.process.wait(START_SECONDS)
        self._network.call(relay.unlisten, False)
        self._network.call(relay.drop, False)

    def _do_freeze(self, order):
        mongod, _ = self._chosen(order)
        mongod.frozen = True
        mongod.process.send_signal(signal.SIGSTOP)

    def _do_thaw(self, order):
        """`silent` is for the model: a process that wakes answers what waits in its sockets as fast as it hears of the others."""
        self._thaw(self._chosen(order)[0])

    @staticmethod
    def _thaw(mongod):
        if mongod.running and mongod.frozen:
            mongod.process.send_signal(signal.SIGCONT)
        mongod.frozen = False

    # Roles

    def _do_step_down(self, order):
        if not order.get("hand_over", True):
            pytest.skip("step_down: a real mongod hands over to whoever has caught up")
        alone = len(self.members) == 1
        seconds = max(1, math.ceil(order.get("seconds", 1.0 if alone else 10.0)))
        command = {"replSetStepDown": seconds, "secondaryCatchUpPeriodSecs": min(seconds, math.ceil(order.get("catch_up", 10.0))),
                   "force": bool(order.get("force")) or alone}
        port = self._chosen(order)[0].port
        end = time.monotonic() + 3 * seconds + 10
        while True:
            try:
                run(port, command, seconds=START_SECONDS)
                return
            except Refused as refused:
                if refused.code != NO_ELECTABLE or time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def _do_elect(self, order):
        number = self._number(order)

        def elected():
            if self.primary() != number:
                run(self._mongods[number].port, {"replSetStepUp": 1}, seconds=START_SECONDS)
            return self.primary() == number
        wait_for(elected, 30.0, f"member {number} as the primary")

    def _do_role(self, order):
        number = self._number(order)
        if self.primary() == number:
            self._do_step_down({**order, "seconds": 60, "member": number})
        run(self._mongods[number].port, {"replSetMaintenance": order["role"] == "recovering"})
        wait_for(lambda: self._member(number)["role"] == order["role"], 10.0, f"member {number} as {order['role']}")

    def _do_hold_replication(self, order):
        for number in self._all_or(order):
            port = self._mongods[number].port
            self._held.add(number)
            entered = run(port, {"configureFailPoint": "stopReplProducer", "mode": "alwaysOn"}).get("count", 0)
            if self.primary() != number:
                self._wait_until_held(port, entered)

    @staticmethod
    def _wait_until_held(port, entered):
        """Until it has asked for nothing more: what it fetches just now it would still apply."""
        try:
            run(port, {"waitForFailPoint": "stopReplProducer", "timesEntered": entered + 1, "maxTimeMS": 20_000}, seconds=25.0)
        except Refused as refused:
            if refused.code != NO_SUCH_COMMAND:  # the model's members, and imitations
                raise

    # The network

    def _do_heal(self, order):
        for number in self._all_or(order):
            self._change(self._relays[number], isolated=False, clients_cut=False)
            if number in self._held:
                self._held.discard(number)
                if self._mongods[number].running:  # else its next process knows of no fail point
                    run(self._mongods[number].port, {"configureFailPoint": "stopReplProducer", "mode": "off"})

    def _do_partition(self, order):
        self._change(self._chosen(order)[1], isolated=True, clients_cut=bool(order.get("clients")))

    def _do_lag(self, order):
        self._network.lag = order["ms"] / 1000

    def _do_delay(self, order):
        relay = self._chosen(order)[1]
        commands = order.get("commands", [])
        delays = [one for one in relay.delays if one["commands"] != commands]
        if order.get("ms"):
            delays.append({"ms": order["ms"], "when": order.get("when", "before"), "commands": commands})
        self._change(relay, delays=delays)

    def _do_cut_after(self, order):
        self._change(self._chosen(order)[1], cut_at={"bytes": order["bytes"], "commands": order.get("commands", [])})

    def _do_answer_instead(self, order):
        relay = self._chosen(order)[1]
        fault = {"commands": order["commands"], "times": order.get("times", 1), "code": order.get("code", 11602),
                 "form": order.get("form", "top")}
        self._change(relay, after=[*relay.after, fault])

    def _do_drop_connections(self, order):
        self._network.call(self._chosen(order)[1].drop, order.get("how", "rst") == "rst")

    # What there is

    def _do_state(self, _):
        members = [self._member(number) for number in range(len(self.members))]
        primaries = [one for one in members if one["writable"]]
        newest = max(primaries, key=lambda one: one["term"], default={"member": None})
        return {"primary": newest["member"], "members": members}

    def _member(self, number):
        mongod, relay = self._mongods[number], self._relays[number]
        found = {"member": number, "address": self.members[number], "running": mongod.running, "frozen": mongod.frozen,
                 "isolated": relay.isolated, "role": "down", "writable": False, "term": -1, "log": "", "committed": "",
                 "connections": sum(1 for pair in list(relay.pairs) if pair.origin is None), "processId": "",
                 "operations": self._network.call(relay.under_way), "commands": dict(relay.counts), "compressed": {}}
        if mongod.frozen:
            return {**found, "role": mongod.role}
        if mongod.running:
            try:
                found.update(self._asked(mongod))
            except (OSError, Refused):
                found["role"] = "recovering"  # it starts, or has no set yet
        mongod.role = found["role"]
        return found

    @staticmethod
    def _asked(mongod):
        hello = run(mongod.port, {"hello": 1}, seconds=10.0)
        status = run(mongod.port, {"replSetGetStatus": 1}, seconds=10.0)
        writable = hello.get("isWritablePrimary", False)
        role = "primary" if writable else "secondary" if hello.get("secondary") else "arbiter" if hello.get("arbiterOnly") else "recovering"
        return {"role": role, "writable": writable, "term": int(status.get("term", -1)),
                "log": str(hello.get("lastWrite", {}).get("opTime")),
                "committed": str(status.get("optimes", {}).get("lastCommittedOpTime")),
                "processId": str(hello.get("topologyVersion", {}).get("processId"))}
