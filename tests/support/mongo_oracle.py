"""Sixteen clients of PyMongo at work, each write with an id of its own, and the reckoning of what they were told against what is stored.

Knows no proxy and no fault. An adder counts ($inc), a pusher lists ($push), a mover moves money in transactions, a batcher inserts several
at once, a watcher follows that by a change stream, a reader looks whether the money is all there. Whoever writes for a majority reads
back what it wrote.
"""

import collections
import dataclasses
import sys
import threading
import time

from pymongo import MongoClient, ReturnDocument
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from support.mongo_listener import Noticed

ACCOUNTS, MONEY = 8, 1000
LIST_LENGTH = 50
PARTS = 3
COUNTERS = 3
DATABASE = "oracle"
# What a listener notes of a client that noticed a loss; a command that failed is no such thing, it is counted by itself.
NOTICED = ("heartbeat failed", "server changed", "pool cleared", "connection closed", "no connection")


class Client(threading.Thread):
    """One program with one MongoClient. `told` are the ids whose writes were acknowledged, by the document that they went to."""

    def __init__(self, oracle, number):
        super().__init__(daemon=True)
        self.oracle, self.number = oracle, number
        self.noticed = Noticed()
        self.client = MongoClient(oracle.uri, event_listeners=[self.noticed], w=oracle.concern)
        self.database = self.client[DATABASE]
        self.told = collections.defaultdict(list)
        self.errors = []
        self.stale = []
        self.wrong = []
        self.last_answer = time.monotonic()

    def run(self):
        step = 0
        while not self.oracle.stopping.is_set():
            try:
                self.work(step)
                self.last_answer = time.monotonic()
            except PyMongoError as error:
                self.errors.append(f"client {self.number}, step {step}: {type(error).__name__} {error}")
            step += 1
            self.oracle.stopping.wait(self.pause)
        self.seen = [line for line in self.noticed.trouble if line.startswith(NOTICED)]

    seen = ()
    pause = 0.005

    def work(self, step):
        raise NotImplementedError

    def read_back(self, found, identity):
        """Of a write that a majority has: nobody may have lost it from sight."""
        if self.oracle.concern == "majority" and not found:
            self.stale.append(identity)


class Adder(Client):
    def work(self, step):
        key = f"counter {(self.number + step) % COUNTERS}"
        counters, change = self.database.counters, {"$inc": {"n": 1}}
        if step % 4 == 3:
            document = counters.find_one_and_update({"_id": key}, change, return_document=ReturnDocument.AFTER)
            at_least = document["n"]
        else:
            result = counters.update_one({"_id": key}, change)
            if result.modified_count != 1:
                self.wrong.append(f"{key}: an $inc changed {result.modified_count} documents")
            at_least = 1
        self.told[key].append(1)
        if step % 8 == 3:
            self.read_back(counters.find_one({"_id": key})["n"] >= at_least, f"{key} at {at_least}")


class Pusher(Client):
    def work(self, step):
        key, identity = f"list {self.number}-{step // LIST_LENGTH}", f"{self.number}-{step}"
        self.database.lists.update_one({"_id": key}, {"$push": {"ids": identity}}, upsert=True)
        self.told[key].append(identity)
        if step % 4 == 3:
            found = self.database.lists.find_one({"_id": key})
            self.read_back(found is not None and identity in found["ids"], identity)


class Mover(Client):
    pause = 0.02

    def work(self, step):
        identity, accounts = f"{self.number}-{step}", self.database.accounts
        source, target, sum_moved = (self.number + step) % ACCOUNTS, (self.number + 3 * step + 1) % ACCOUNTS, step % 7

        def move(session):
            accounts.update_one({"_id": source}, {"$inc": {"money": -sum_moved}}, session=session)
            accounts.update_one({"_id": target}, {"$inc": {"money": sum_moved}}, session=session)
            # Not the _id: a second copy must be able to get in and be found.
            self.database.moves.insert_one({"move": identity, "from": source, "to": target, "sum": sum_moved}, session=session)

        with self.client.start_session() as session:
            session.with_transaction(move, write_concern=WriteConcern(self.oracle.concern))
        self.told["moves"].append(identity)


class Reader(Client):
    pause = 0.02

    def work(self, step):
        if step % 2:
            seen = [one["n"] for one in self.database.counters.find({})]
            if len(seen) != COUNTERS:
                self.wrong.append(f"{len(seen)} counters were found")
            return

        def look(session):
            return sum(one["money"] for one in self.database.accounts.find({}, session=session))

        with self.client.start_session() as session:
            money = session.with_transaction(look, read_concern=ReadConcern("snapshot"))
        if money != ACCOUNTS * MONEY:
            self.wrong.append(f"the accounts held {money} in one snapshot")


class Batcher(Client):
    pause = 0.02

    def work(self, step):
        identity = f"{self.number}-{step}"
        self.database.batches.insert_many([{"batch": identity, "part": part} for part in range(PARTS)], ordered=step % 2 == 0)
        self.told["batches"] += [f"{identity}/{part}" for part in range(PARTS)]


class Watcher(Client):
    """Follows what the batcher inserts by a change stream, from before the first."""

    def __init__(self, oracle, number):
        super().__init__(oracle, number)
        self.heard = []
        self.stream = self.database.batches.watch(max_await_time_ms=100)

    def work(self, step):
        self.hear()

    def hear(self):
        """Whether there was a change."""
        change = self.stream.try_next()
        if change:
            self.heard.append(part_of(change["fullDocument"]))
        return change is not None

    def hear_out(self, stored, deadline=20.0):
        """What the servers still have to tell, once nobody writes any more: all that is stored, and whatever comes behind it.

        The member that has the stream may have been cut off until now, and then has to learn what the others have.
        """
        end = time.monotonic() + deadline
        while not stored <= set(self.heard) and time.monotonic() < end:
            self.hear()
        silent = 0
        while silent < 10:
            silent = 0 if self.hear() else silent + 1


def part_of(document):
    return f"{document['batch']}/{document['part']}"


KINDS = [Watcher] + [Adder] * 5 + [Pusher] * 5 + [Mover] * 3 + [Batcher, Reader]


@dataclasses.dataclass
class Verdict:
    """What the clients were told against what is stored. `rolled_back` are writes of w:1 that the servers took back."""
    acknowledged: int = 0
    lost: list = dataclasses.field(default_factory=list)
    doubled: list = dataclasses.field(default_factory=list)
    wrong: list = dataclasses.field(default_factory=list)
    rolled_back: int = 0
    noticed: list = dataclasses.field(default_factory=list)
    errors: list = dataclasses.field(default_factory=list)

    def faults(self):
        """A sentence for each thing that must not be."""
        return [f"{name}: {len(found)}, {found[:5]}" for name in ("lost", "doubled", "wrong", "noticed", "errors")
                if (found := getattr(self, name))]


class Oracle:
    """Starts the clients on `uri`; `finish` ends them and reckons. `concern`: "majority" or 1."""

    def __init__(self, uri, direct_uri, concern):
        self.uri, self.direct_uri, self.concern = uri, direct_uri, concern
        self.stopping = threading.Event()
        with MongoClient(direct_uri, w="majority") as direct:
            database = direct[DATABASE]
            database.counters.insert_many([{"_id": f"counter {number}", "n": 0} for number in range(COUNTERS)])
            database.accounts.insert_many([{"_id": number, "money": MONEY} for number in range(ACCOUNTS)])
            database.create_collection("lists")
            database.create_collection("moves")
            database.create_collection("batches")
        self.clients = [kind(self, number) for number, kind in enumerate(KINDS)]
        for one in self.clients:
            one.start()

    def acknowledged(self):
        """How many writes have been acknowledged so far."""
        return sum(len(ids) for one in self.clients for ids in list(one.told.values()))

    def unanswered_since(self, moment):
        """Which clients have had no answer since then, with what they sent and noticed last."""
        return [f"client {one.number} ({type(one).__name__}): sent {one.noticed.commands[-4:]}, noticed {one.noticed.trouble[-3:]}"
                for one in self.clients if one.last_answer <= moment]

    def finish(self, model):
        """Ends the clients and gives the verdict; the model must be whole."""
        self.stopping.set()
        for one in self.clients:
            one.join(40)
        verdict = Verdict(acknowledged=self.acknowledged())
        verdict.errors = [f"client {one.number} ({type(one).__name__}) never ended" for one in self.clients if one.is_alive()]
        if not verdict.errors:
            with MongoClient(self.direct_uri) as direct:
                stored = {part_of(one) for one in direct[DATABASE].batches.find({})}
            self.clients[0].hear_out(stored)
        for one in self.clients:
            verdict.errors += one.errors
            verdict.noticed += [f"client {one.number}: {line}" for line in one.seen]
            verdict.wrong += one.wrong + [f"read stale: {identity}" for identity in one.stale]
            one.client.close()
        with MongoClient(self.direct_uri) as direct:
            self._compare_changes(direct[DATABASE], verdict)
            self._reckon(direct[DATABASE], Fates(model) if model.keeps_history else UnknownFates(), verdict)
        return verdict

    def _compare_changes(self, database, verdict):
        heard = collections.Counter(self.clients[0].heard)
        stored = {part_of(one) for one in database.batches.find({})}
        verdict.wrong += [f"the change stream told of {one} {count} times" for one, count in heard.items() if count > 1]
        last = list(heard)[-1] if heard else "nothing"
        verdict.wrong += [f"the change stream never told of {one}, and of {last} last" for one in stored - set(heard)]
        verdict.wrong += [f"the change stream told of {one}, which is not there" for one in set(heard) - stored]

    def _reckon(self, database, fates, verdict):
        told = collections.defaultdict(list)
        for one in self.clients:
            for key, ids in one.told.items():
                told[key] += ids
        verdict.doubled += fates.doubled
        for counter in database.counters.find({}):
            self._settle(verdict, counter["_id"], len(told[counter["_id"]]), counter["n"], fates.taken_back("counters", counter["_id"]))
        lists = {one["_id"]: one["ids"] for one in database.lists.find({})}
        moves = [one["move"] for one in database.moves.find({})]
        batches = [part_of(one) for one in database.batches.find({})]
        for key, stored, table in [(key, lists.get(key, []), "lists") for key in {*told, *lists} if key.startswith("list ")] + [
                ("moves", moves, "moves"), ("batches", batches, "batches")]:
            copies = collections.Counter(stored)
            verdict.doubled += [f"{key}: {identity}" for identity, count in copies.items() if count > 1]
            verdict.wrong += [f"{key}: nobody was told of {identity}" for identity in set(stored) - set(told[key])]
            missing = set(told[key]) - set(stored)
            gone = fates.taken_back(table, key if table == "lists" else None)
            self._settle(verdict, key, len(told[key]), len(told[key]) - len(missing), gone)
        money = {one["_id"]: one["money"] for one in database.accounts.find({})}
        for move in database.moves.find({}):
            money[move["from"]] += move["sum"]
            money[move["to"]] -= move["sum"]
        verdict.wrong += [f"account {key}: the moves do not account for {balance - MONEY}" for key, balance in money.items()
                          if balance != MONEY]

    def _settle(self, verdict, key, told, stored, gone):
        """`gone`: applied once, rolled back, and never applied again."""
        missing = told - stored
        if self.concern != "majority":
            verdict.rolled_back += min(missing, gone)
            missing -= min(max(missing, 0), gone)
        if missing > 0:
            verdict.lost.append(f"{key}: {missing}")
        if missing < 0:
            verdict.doubled.append(f"{key}: {-missing} more than anybody was told of")


class Fates:
    """What the model's history says: writes applied twice under one number, and those that rollbacks left nothing of."""

    def __init__(self, model):
        entries = [one for one in model.do("history", brief=True)["entries"] if "session" in one]
        there = collections.Counter(number for one in entries if not one["rolled_back"] for number in self._numbers(one))
        self.doubled = [f"applied {count} times: {number}" for number, count in there.items() if count > 1]
        self.gone = collections.Counter()
        seen = set()
        for one in entries:
            numbers = self._numbers(one)
            if one["rolled_back"] and not any(number in there or number in seen for number in numbers):
                seen.update(numbers)
                for operation in one["operations"]:
                    if operation[0] != "c" and operation[1].startswith(DATABASE + "."):
                        self.gone[operation[1].split(".", 1)[1], self._key(operation[2])] += 1

    def taken_back(self, table, key=None):
        """How many writes to this document, or to the table, rollbacks left nothing of."""
        return self.gone[table, key] if key else sum(count for (name, _), count in self.gone.items() if name == table)

    @staticmethod
    def _numbers(entry):
        session = entry["session"]
        statements = session["statements"]
        return [(session["lsid"], session["txnNumber"], one) for one in (statements if isinstance(statements, list) else [statements])]

    @staticmethod
    def _key(identity):
        return identity if isinstance(identity, str) else str(identity)


class UnknownFates:
    """Of servers that keep no such account: any write of w:1 that is missing may have been rolled back; whatever is there twice shows by itself."""

    doubled = ()

    @staticmethod
    def taken_back(*_):
        return sys.maxsize
