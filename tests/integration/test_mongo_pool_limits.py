"""The limits of the pool: nobody waits longer than allowed, nobody is waited for who has left, and no connection is forgotten."""

import json
import socket
import time
from contextlib import closing

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from support.holdfast import Background
from support.mongo_listener import WatchedClient
from support.mongo_raw import RawClient, message
from support.waiting import wait_for


@pytest.fixture
def model(fresh_set):
    return fresh_set


def start(start_holdfast, model, hold="10s", **keys):
    reconnect = {"hold_timeout": hold, "connection_timeout": "2s"}
    return start_holdfast(model.uri(), connection={"type": "mongodb", "reconnect": reconnect, **keys})


def connected(model):
    return model.state(model.primary())["connections"]


def waiting(proxy):
    return proxy.state()["sessions"]["waiting"]


def clients(proxy):
    return [one["client"] for one in json.loads(proxy.admin("/api/v1/sessions")[1])]


def occupied(model, proxy, milliseconds):
    """Somebody has the only connection to the primary for a while."""
    client = MongoClient("127.0.0.1", proxy.port)
    proxy.clients.append(client)
    client.test.things.insert_one({"_id": "warm", "n": 0})
    model.do("delay", ms=milliseconds, commands=["find"], when="before")
    read = Background(lambda: client.test.things.find_one())
    wait_for(lambda: proxy.state()["sessions"]["active"] > 0, what="the read under way")
    return read


def write_request():
    return message({"update": "things", "updates": [{"q": {"_id": "warm"}, "u": {"$inc": {"n": 1}}}], "$db": "test"})


def test_one_that_finds_no_connection_in_time_is_told_so(model, start_holdfast):
    proxy = start(start_holdfast, model, hold="500ms", pool_max=1)
    read = occupied(model, proxy, 5000)
    with closing(WatchedClient(proxy.port)) as late:
        begun = time.monotonic()
        with pytest.raises(OperationFailure) as error:
            late.collection.update_one({"_id": "warm"}, {"$inc": {"n": 1}})
        assert error.value.code == 462 and "in use" in error.value.details["errmsg"], "this driver comes again by itself, twice"
        assert 0.4 < time.monotonic() - begun < 4
        assert read.result()["n"] == 0
        assert late.collection.update_one({"_id": "warm"}, {"$inc": {"n": 1}}).modified_count == 1


def test_a_cursor_that_is_not_asked_in_time_has_lost_nothing(model, start_holdfast):
    proxy = start(start_holdfast, model, hold="500ms", pool_max=1)
    with closing(WatchedClient(proxy.port)) as late:
        late.collection.insert_many([{"_id": number} for number in range(30)])
        cursor = late.client.test.command({"find": "things", "batchSize": 5})["cursor"]["id"]
        read = occupied(model, proxy, 4000)
        with pytest.raises(OperationFailure) as error:
            late.client.test.command({"getMore": cursor, "collection": "things"})
        assert error.value.code == 462 and "not executed" in error.value.details["errmsg"], error.value.details
        assert read.result()
        assert len(late.client.test.command({"getMore": cursor, "collection": "things"})["cursor"]["nextBatch"]) == 25


def test_whoever_waits_for_a_transaction_does_not_keep_it_from_its_end(model, start_holdfast):
    """Many that write what an open transaction has written have all connections, and wait for its commit, which has none."""
    proxy = start(start_holdfast, model, pool_max=1)
    with closing(WatchedClient(proxy.port)) as one, closing(WatchedClient(proxy.port)) as other:
        one.collection.insert_one({"_id": 1, "n": 0})
        with one.client.start_session() as session, session.start_transaction():
            one.collection.update_one({"_id": 1}, {"$inc": {"n": 1}}, session=session)
            write = Background(lambda: other.collection.update_one({"_id": 1}, {"$inc": {"n": 10}}))
            wait_for(lambda: proxy.state()["sessions"]["active"] > 0, what="the write under way")
            begun = time.monotonic()
            one.collection.update_one({"_id": 1}, {"$inc": {"n": 100}}, session=session)
        assert time.monotonic() - begun < 3
        assert write.result().modified_count == 1
        assert other.collection.find_one({"_id": 1})["n"] == 111
        one.saw_nothing()
        other.saw_nothing()


def test_whoever_has_all_connections_can_be_found_and_ended(model, start_holdfast):
    proxy = start(start_holdfast, model, hold="5s", pool_max=1)
    with closing(WatchedClient(proxy.port)) as operator, MongoClient("127.0.0.1", proxy.port) as client:
        operator.collection.insert_one({"_id": 1})
        with MongoClient(model.members[model.primary()], directConnection=True) as direct:
            direct.admin.command("configureFailPoint", "failCommand", mode={"times": 1},
                                 data={"failCommands": ["find"], "blockConnection": True, "blockTimeMS": 20_000})
        slow = Background(lambda: client.test.things.find_one())
        wait_for(lambda: "find" in model.state(model.primary())["operations"], what="the read under way")
        found = [one["opid"] for one in operator.client.admin.command("currentOp")["inprog"] if "find" in one["command"]]
        assert operator.client.admin.command({"killOp": 1, "op": found[0]})["ok"] == 1
        with pytest.raises(OperationFailure) as error:
            slow.result()
        assert error.value.code == 11601
        operator.saw_nothing()


def test_one_that_waits_for_a_member_that_is_full_is_served_by_the_next_primary(model, start_holdfast):
    proxy = start(start_holdfast, model, hold="20s", pool_max=1)
    read = occupied(model, proxy, 10_000)
    with closing(WatchedClient(proxy.port)) as late:
        write = Background(lambda: late.collection.update_one({"_id": "warm"}, {"$inc": {"n": 1}}))
        wait_for(lambda: waiting(proxy) == 1, what="a session that waits")
        begun = time.monotonic()
        model.do("step_down")
        assert write.result().modified_count == 1
        assert time.monotonic() - begun < 7
        read.result()


def test_one_that_leaves_while_its_cursors_member_is_full_is_forgotten_at_once(model, start_holdfast):
    proxy = start(start_holdfast, model, pool_max=1)
    with closing(RawClient(proxy.port)) as client:
        client.ask({"insert": "many", "documents": [{"_id": number} for number in range(30)], "$db": "test"})
        cursor = client.ask({"find": "many", "batchSize": 5, "$db": "test"})["cursor"]["id"]
        read = occupied(model, proxy, 4000)
        address = "%s:%d" % client.socket.getsockname()
        client.send({"getMore": cursor, "collection": "many", "$db": "test"})
    wait_for(lambda: address not in clients(proxy), deadline=2, what="its end, while the read is under way")
    assert read.result()


def test_one_that_leaves_while_it_waits_for_data_leaves_its_connection_to_others(model, start_holdfast):
    proxy = start(start_holdfast, model, pool_max=1)
    with closing(WatchedClient(proxy.port)) as other:
        other.collection.insert_one({"_id": 1})
        with RawClient(proxy.port) as client:
            opened = client.ask({"aggregate": "things", "pipeline": [{"$changeStream": {}}], "cursor": {}, "$db": "test"})
            client.send({"getMore": opened["cursor"]["id"], "collection": "things", "maxTimeMS": 60_000, "$db": "test"})
            wait_for(lambda: "getMore" in model.state(model.primary())["operations"], what="the getMore under way")
        begun = time.monotonic()
        assert other.collection.find_one({"_id": 1})
        assert time.monotonic() - begun < 3
        other.saw_nothing()


def test_one_that_does_not_read_its_answer_keeps_no_connection_from_others(model, start_holdfast):
    proxy = start(start_holdfast, model, hold="2s", pool_max=1)
    with closing(WatchedClient(proxy.port)) as other, socket.create_connection(("127.0.0.1", proxy.port)) as lazy:
        other.collection.insert_many([{"_id": number, "text": "x" * 1_000_000} for number in range(14)])  # more than sockets hold
        lazy.sendall(message({"find": "things", "$db": "test"}))
        assert lazy.recv(1, socket.MSG_PEEK), "its answer has come"
        for _ in range(3):
            assert other.client.test.others.find_one() is None
        other.saw_nothing()


def test_one_that_leaves_while_it_waits_is_forgotten_at_once(model, start_holdfast):
    proxy = start(start_holdfast, model, pool_max=1)
    read = occupied(model, proxy, 3000)
    with socket.create_connection(("127.0.0.1", proxy.port)) as client:
        client.sendall(write_request())
        wait_for(lambda: waiting(proxy) == 1, what="a session that waits")
    wait_for(lambda: waiting(proxy) == 0, deadline=1.5, what="its end, while the read is under way")
    assert read.result()["n"] == 0
    with closing(WatchedClient(proxy.port)) as after:
        assert after.collection.find_one({"_id": "warm"})["n"] == 0, "what it wanted was not done"


def test_one_that_leaves_while_its_connection_is_opened_does_not_wait_for_another(model, start_holdfast):
    proxy = start(start_holdfast, model, hold="60s")
    for member in range(3):
        model.do("freeze", member=member)
    with socket.create_connection(("127.0.0.1", proxy.port)) as client:
        client.sendall(write_request())
        wait_for(lambda: waiting(proxy) == 1, what="a session that waits")
    wait_for(lambda: waiting(proxy) == 0, deadline=10, what="its end, once that connection has failed")


def test_through_losses_there_are_never_more_than_allowed_and_idle_ones_go(model, start_holdfast):
    proxy = start(start_holdfast, model, pool_max=3, pool_idle_timeout="1s")
    watched = WatchedClient(proxy.port, maxPoolSize=40)
    proxy.clients.append(watched)
    watched.collection.insert_one({"_id": "warm", "n": 0})
    wait_for(lambda: connected(model) > 0, what="the first connection")
    for loss in ("step_down", "kill", "step_down"):
        model.do("delay", ms=20, commands=["update"], when="before")
        writes = [Background(lambda: watched.collection.update_one({"_id": "warm"}, {"$inc": {"n": 1}})) for _ in range(20)]
        model.do(loss)
        for write in writes:
            write.result()
        model.wait_for(lambda: model.primary() is not None, what="a primary")
        for member in range(3):
            if not model.state(member)["running"]:
                model.do("start", member=member)
        # The standing connection, and the monitor's; a probe's may just be closing.
        wait_for(lambda: connected(model) <= 3 + 2, deadline=1.0, what="no more connections than that")
    assert watched.collection.find_one({"_id": "warm"})["n"] == 60
    watched.saw_nothing()
    wait_for(lambda: connected(model) <= 2, deadline=5.0, what="idle connections closed")
