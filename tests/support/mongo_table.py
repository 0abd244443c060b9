"""Measures the table of docs/transparency-mongodb.md: each row with PyMongo through holdfast and, for comparison, with PyMongo alone.

`python -m support.mongo_table --write` (from tests/) runs it on the model replica set and puts it into the document between its marks.
A cell is T where neither the program nor its driver noticed anything, t where the program saw nothing but its driver lost connections or
its server, and `E` with a code or an exception where the program got an error. Commands that a driver ran again by itself count as nothing.
"""

import argparse
import contextlib
import pathlib
import sys
import time

from pymongo import MongoClient, UpdateOne
from pymongo.errors import ConnectionFailure, PyMongoError

from support.holdfast import Background, Holdfast
from support.mongo import ModelSet
from support.mongo_listener import Noticed, WatchedClient
from support.waiting import wait_for

DOCUMENT = pathlib.Path(__file__).resolve().parents[2] / "docs" / "transparency-mongodb.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
ROUTES = ("holdfast", "alone")
LOSSES = {"kill": {"order": "kill"}, "stepdown": {"order": "step_down", "seconds": 1.0}}
NOTICED = ("heartbeat failed", "server changed", "pool cleared", "connection closed", "no connection")
IN_FLIGHT_MS = 1000


class Stage:
    """One client at work, and the loss that is about to befall it."""

    def __init__(self, model, client, loss):
        self.model, self.client, self.loss = model, client, loss
        self.noticed = client.noticed
        self.things = client.collection

    def strike(self):
        self.model.lose(**LOSSES[self.loss])

    def strike_and_wait(self):
        self.strike()
        self.model.wait_for(lambda: self.model.primary() is not None, what="a primary")

    def strike_and_be_noticed(self):
        """A driver alone knows by then that there is no primary; else it is chance whether what it sends next is in flight."""
        self.strike()
        if isinstance(self.client, Alone):
            wait_for(lambda: self.noticed.trouble, what="the driver's word of the loss")

    def in_flight(self, command, call):
        """Runs `call` and strikes while its `command` is under way: executed and not answered by who dies, not yet by who steps down."""
        self.model.do("delay", ms=IN_FLIGHT_MS, commands=[command], when="after" if self.loss == "kill" else "before")
        sent = self.noticed.commands.count(command)
        work = Background(call)
        wait_for(lambda: self.noticed.commands.count(command) > sent, what=f"{command} sent")
        time.sleep(0.1)
        self.strike()
        return work.result(40)


def idle(stage):
    stage.strike_and_wait()
    stage.model.wait_for(lambda: stage.model.primary() is not None, what="a primary")
    stage.client.client.admin.command("ping")


def update_sent(stage):
    stage.strike_and_be_noticed()
    stage.things.update_one({"_id": "warm"}, {"$inc": {"n": 1}})


def update_many_sent(stage):
    stage.strike_and_be_noticed()
    stage.things.update_many({}, {"$inc": {"n": 1}})


def unacknowledged(stage):
    stage.strike_and_wait()
    stage.client.unsafe.update_one({"_id": "warm"}, {"$inc": {"n": 1}})
    assert stage.things.find_one({"_id": "warm"})["n"] == 1, "lost without a word"


def cursor_goes_on(stage):
    stage.things.insert_many([{"k": number} for number in range(30)])
    cursor = stage.things.find({"k": {"$exists": True}}, batch_size=5)
    next(cursor)
    stage.strike_and_wait()
    assert len(list(cursor)) == 29


def change_stream(stage):
    with stage.things.watch(max_await_time_ms=200) as stream:
        stage.things.insert_one({"_id": "a"})
        assert stream.next()["documentKey"]["_id"] == "a"
        stage.strike()
        stage.things.insert_one({"_id": "b"})
        assert stream.next()["documentKey"]["_id"] == "b"


def transaction(stage):
    with stage.client.client.start_session() as session, session.start_transaction():
        stage.things.update_one({"_id": "warm"}, {"$inc": {"n": 1}}, session=session)
        stage.strike()
        stage.things.update_one({"_id": "warm"}, {"$inc": {"n": 1}}, session=session)


def with_transaction(stage):
    struck = []

    def body(session):
        stage.things.update_one({"_id": "warm"}, {"$inc": {"n": 1}}, session=session)
        if not struck:
            struck.append(stage.strike())
        stage.things.update_one({"_id": "warm"}, {"$inc": {"n": 1}}, session=session)

    with stage.client.client.start_session() as session:
        session.with_transaction(body)


def commit(stage):
    with stage.client.client.start_session() as session:
        session.start_transaction()
        stage.things.update_one({"_id": "warm"}, {"$inc": {"n": 1}}, session=session)
        stage.in_flight("commitTransaction", session.commit_transaction)


def during(command, call):
    return lambda stage: stage.in_flight(command, lambda: call(stage.things))


ROWS = [
    ("1", "idle", idle),
    ("2", "it sends an update", update_sent),
    ("2", "it sends an `updateMany`", update_many_sent),
    ("3", "find is in flight", during("find", lambda things: things.find_one({}))),
    ("3", "aggregate is in flight", during("aggregate", lambda things: list(things.aggregate([{"$match": {}}])))),
    ("4", "an insert is in flight", during("insert", lambda things: things.insert_one({"_id": "new"}))),
    ("4", "a batch of updates is in flight",
     during("update", lambda things: things.bulk_write([UpdateOne({"_id": "warm"}, {"$inc": {"n": 1}})] * 3))),
    ("4", "findAndModify is in flight", during("findAndModify", lambda things: things.find_one_and_update({}, {"$inc": {"n": 1}}))),
    ("5", "`updateMany` is in flight", during("update", lambda things: things.update_many({}, {"$inc": {"n": 1}}))),
    ("6", "a w: 0 write follows", unacknowledged),
    ("7, 8", "a cursor is open", cursor_goes_on),
    ("8", "a change stream is open", change_stream),
    ("9", "a transaction is open", transaction),
    ("10", "`withTransaction` runs", with_transaction),
    ("11", "commitTransaction is in flight", commit),
    ("12", "createIndexes is in flight", during("createIndexes", lambda things: things.create_index("k"))),
]


def name_of(error):
    """A server's code, or the driver's exception where it had no answer."""
    if isinstance(error, ConnectionFailure) and not getattr(error, "code", None):
        return f"E {type(error).__name__}"
    return f"E {getattr(error, 'code', None) or type(error).__name__}"


def measured(model, port, run, loss):
    """The letter of one cell; `port` is the proxy's, or None for the driver alone."""
    restore(model)
    with MongoClient(model.uri()) as direct:
        direct.drop_database("test")
    client = WatchedClient(port) if port else Alone(model.uri())
    try:
        client.collection.insert_one({"_id": "warm", "n": 0})
        try:
            run(Stage(model, client, loss))
        except AssertionError as wrong:
            return "lost" if "lost" in str(wrong) else f"wrong: {wrong}"
        except PyMongoError as error:
            return name_of(error)
        client.hear_out()
        return "t" if any(line.startswith(NOTICED) for line in client.noticed.trouble) else "T"
    finally:
        client.close()


class Alone(WatchedClient):
    """The same client with all members in its URI and no proxy."""

    def __init__(self, uri):
        # pylint: disable=super-init-not-called
        self.noticed = Noticed()
        self.client = MongoClient(uri, event_listeners=[self.noticed], w="majority", serverSelectionTimeoutMS=10_000)
        self.collection = self.client.test.things
        self.unsafe = self.client.test.get_collection("things", write_concern=type(self.collection.write_concern)(0))


def restore(model):
    for number in range(len(model.members)):
        for command in ("find", "aggregate", "insert", "update", "findAndModify", "commitTransaction", "createIndexes"):
            model.do("delay", member=number, ms=0, commands=[command])
    model.restore(deadline=20.0)


def table(routes=ROUTES, start_set=lambda: ModelSet("--members", 3)):
    """{(row, what): {(route, loss): letter}}"""
    found = {(row, what): {} for row, what, _ in ROWS}
    with start_set() as model, contextlib.ExitStack() as ends:
        proxy = Holdfast(model.uri(), connection={"type": "mongodb"})
        ends.callback(proxy.close)
        for row, what, run in ROWS:
            for route in routes:
                for loss in LOSSES:
                    found[row, what][route, loss] = measured(model, proxy.port if route == "holdfast" else None, run, loss)
    return found


def shown(found):
    lines = ["| # | the primary is lost while | holdfast: killed | stepped down | alone: killed | stepped down |", "| --- | --- | --- | --- | --- | --- |"]
    for (row, what), cells in found.items():
        lines.append(f"| {row} | {what} | " + " | ".join(cells[route, loss] for route in ROUTES for loss in LOSSES) + " |")
    return "\n".join(lines)


def documented():
    """The table that stands in the document."""
    found = {}
    for line in DOCUMENT.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0].strip().splitlines()[2:]:
        row, what, *letters = [cell.strip() for cell in line.strip("| ").split(" | ")]
        found[row, what] = dict(zip([(route, loss) for route in ROUTES for loss in LOSSES], letters))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="put it into docs/transparency-mongodb.md")
    options = parser.parse_args()
    text = shown(table())
    print(text)
    if options.write:
        before, rest = DOCUMENT.read_text(encoding="utf-8").split(BEGIN)
        DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
