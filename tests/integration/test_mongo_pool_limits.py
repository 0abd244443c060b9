"""The limits of the pool: nobody waits longer than allowed, nobody is waited for who has left, and no connection is forgotten."""

import socket
import struct
import time
from contextlib import closing

import bson
import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from support.holdfast import Background
from support.mongo_listener import WatchedClient
from support.waiting import wait_for


def start(start_holdfast, model, hold="10s", **keys):
    reconnect = {"hold_timeout": hold, "connection_timeout": "2s"}
    return start_holdfast(model.uri(), connection={"type": "mongodb", "reconnect": reconnect, **keys})


def connected(model):
    return model.state(model.primary())["connections"]


def waiting(proxy):
    return proxy.state()["sessions"]["waiting"]


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
    return request({"update": "things", "updates": [{"q": {"_id": "warm"}, "u": {"$inc": {"n": 1}}}], "$db": "test"})


def request(command):
    content = struct.pack("<IB", 0, 0) + bson.encode(command)
    return struct.pack("<iiii", 16 + len(content), 1, 0, 2013) + content


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


def test_one_that_does_not_read_its_answer_keeps_no_connection_from_others(model, start_holdfast):
    proxy = start(start_holdfast, model, hold="2s", pool_max=1)
    with closing(WatchedClient(proxy.port)) as other, socket.create_connection(("127.0.0.1", proxy.port)) as lazy:
        other.collection.insert_many([{"_id": number, "text": "x" * 1_000_000} for number in range(14)])  # more than sockets hold
        lazy.sendall(request({"find": "things", "$db": "test"}))
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
        wait_for(lambda: model.primary() is not None, what="a primary")
        for member in range(3):
            if not model.state(member).get("alive", True):
                model.do("start", member=member)
        # The standing connection, and the monitor's.
        assert connected(model) <= 3 + 2
    assert watched.collection.find_one({"_id": "warm"})["n"] == 60
    watched.saw_nothing()
    wait_for(lambda: connected(model) <= 2, deadline=5.0, what="idle connections closed")
