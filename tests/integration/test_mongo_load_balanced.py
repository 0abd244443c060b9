"""A driver that is told that it speaks with a load balancer (loadBalanced=true): holdfast is one service to it, whatever befalls the members."""

from contextlib import closing
from uuid import uuid4

import pytest
from bson import Binary, Int64
from pymongo import MongoClient
from pymongo.errors import ConfigurationError, CursorNotFound

from support.mongo import ModelSet
from support.mongo_listener import WatchedClient
from support.mongo_raw import RawClient
from support.waiting import wait_for


@pytest.fixture
def model(module_set):
    module_set.restore()
    with MongoClient(module_set.uri()) as direct:
        direct.drop_database("test")
    return module_set


@pytest.fixture
def proxy(model, start_holdfast):
    return start_holdfast(model.uri(), connection={"type": "mongodb"})


@pytest.fixture
def watched(proxy):
    with closing(WatchedClient(proxy.port, loadBalanced=True)) as one:
        one.collection.insert_one({"_id": "warm", "n": 0})
        yield one


def lose(model, how):
    """One loss; another primary is there when it returns, and the old member is back."""
    old = model.primary()
    model.do(how)
    if len(model.members) > 1:
        model.wait_for(lambda: model.primary() is not None, what="a primary")
    if how == "kill":
        model.do("start", member=old)


losses = pytest.mark.parametrize("how", ["step_down", "kill"])


def test_the_service_has_one_name_for_as_long_as_the_process_lives(proxy, watched):
    assert watched.client.topology_description.topology_type_name == "LoadBalanced"
    with MongoClient("127.0.0.1", proxy.port) as plain:
        names = {watched.client.admin.command("hello", loadBalanced=True)["serviceId"], plain.admin.command("hello", loadBalanced=True)["serviceId"]}
        assert len(names) == 1
        assert "serviceId" not in plain.admin.command("hello")
        assert plain.topology_description.topology_type_name == "Sharded"


@losses
def test_it_writes_and_reads_through_a_loss(model, watched, how):
    collection = watched.collection
    lose(model, how)
    collection.update_one({"_id": "warm"}, {"$inc": {"n": 1}})
    collection.insert_many([{"_id": number} for number in range(3)])
    assert collection.find_one_and_delete({"_id": 2}) == {"_id": 2}
    assert sorted(collection.distinct("_id", {"_id": {"$type": "int"}})) == [0, 1]
    assert collection.find_one({"_id": "warm"})["n"] == 1
    watched.saw_nothing()


def test_its_cursor_goes_on_after_a_stepdown(model, watched):
    watched.collection.insert_many([{"k": i} for i in range(50)])
    cursor = watched.collection.find({"k": {"$exists": True}}, batch_size=7)
    first = next(cursor)["k"]
    lose(model, "step_down")
    assert [first] + [one["k"] for one in cursor] == list(range(50))
    watched.saw_nothing()


def test_its_cursor_of_a_dead_process_is_not_found_and_the_connection_serves_on(model, watched):
    watched.collection.insert_many([{"k": i} for i in range(50)])
    cursor = watched.collection.find({}, batch_size=7)
    next(cursor)
    lose(model, "kill")
    with pytest.raises(CursorNotFound):
        list(cursor)
    assert watched.collection.find_one({"_id": "warm"})["n"] == 0
    assert not [line for line in watched.noticed.trouble if not line.startswith(("getMore failed", "killCursors failed"))], watched.noticed.trouble


@losses
def test_its_transaction_runs_again_as_a_whole(model, watched, how):
    runs = []

    def body(session):
        runs.append(1)
        watched.collection.update_one({"_id": "warm"}, {"$inc": {"n": 1}}, session=session)
        if len(runs) == 1:
            lose(model, how)
        watched.collection.update_one({"_id": "warm"}, {"$inc": {"n": 10}}, session=session)

    with watched.client.start_session() as session:
        session.with_transaction(body)
    assert len(runs) == 2
    assert watched.collection.find_one({"_id": "warm"})["n"] == 11
    only_errors = [line for line in watched.noticed.trouble if not line.startswith(("update failed", "abortTransaction failed"))]
    assert not only_errors, only_errors


def begin_things(client, hello):
    """A cursor and a transaction that nobody ends."""
    client.ask({**hello, "$db": "admin"})
    client.ask({"insert": "many", "documents": [{"_id": number} for number in range(30)], "$db": "test"})
    cursor = client.ask({"find": "many", "batchSize": 5, "$db": "test"})["cursor"]["id"]
    session = {"lsid": {"id": Binary(uuid4().bytes, 4)}, "txnNumber": Int64(1), "autocommit": False}
    assert client.ask({"insert": "things", "documents": [{"_id": 1}], "startTransaction": True, **session, "$db": "test"})["ok"] == 1
    return cursor, session


def left_behind(model):
    one = model.state(model.primary())
    return one["cursors"], one["transactions"]


def test_what_it_leaves_behind_is_ended_because_it_goes_on_with_that_nowhere_else(model, proxy):
    with RawClient(proxy.port) as client:
        begin_things(client, {"hello": 1, "loadBalanced": True})
        assert left_behind(model) == (1, 1)
    wait_for(lambda: left_behind(model) == (0, 0), what="the end of its cursor and its transaction")
    with RawClient(proxy.port) as client:
        cursor, session = begin_things(client, {"hello": 1})
    with RawClient(proxy.port) as client:
        assert len(client.ask({"getMore": cursor, "collection": "many", "$db": "test"})["cursor"]["nextBatch"]) == 25
        assert client.ask({"commitTransaction": 1, **session, "$db": "admin"})["ok"] == 1


def test_a_standalone_is_no_service(start_holdfast):
    with ModelSet("--standalone") as model:
        proxy = start_holdfast(model.uri(), connection={"type": "mongodb"})
        with closing(WatchedClient(proxy.port, loadBalanced=True)) as watched, pytest.raises(ConfigurationError, match="load balancing mode"):
            watched.collection.find_one({})
