"""A member that takes no more connections, as mongod does at its limit: it closes each new one without a word. What it serves already goes on."""

from contextlib import closing

import pytest
from pymongo import MongoClient

from support.holdfast import Background
from support.mongo import ModelSet
from support.mongo_listener import WatchedClient
from support.relay import Relay
from support.waiting import wait_for


@pytest.fixture
def model():
    with ModelSet("--members", 1) as one:
        yield one


@pytest.fixture
def relay(model):
    with closing(Relay(int(model.members[0].rpartition(":")[2]))) as one:
        yield one


@pytest.fixture
def proxy(relay, start_holdfast):
    return start_holdfast(f"mongodb://127.0.0.1:{relay.port}/?directConnection=true", connection={
        "type": "mongodb", "health": {"interval": "60s"}, "reconnect": {"hang_timeout": "1s", "retry_delay": "100ms"}})


def warm(model, clients):
    """So many commands at once, that there is a connection for each."""
    model.do("delay", ms=1000, commands=["find"])
    for read in [Background(client.collection.find_one) for client in clients]:
        read.result()
    model.do("delay", ms=0, commands=["find"])


def test_a_slow_command_is_not_cut_off_by_a_hello_that_is_turned_away(model, relay, proxy):
    with closing(WatchedClient(proxy.port)) as client:
        client.collection.insert_one({"_id": 1, "n": 0})
        relay.refuse()
        before = relay.accepted
        model.do("delay", ms=4000, commands=["update"])
        assert client.collection.update_many({}, {"$inc": {"n": 1}}).modified_count == 1
        assert relay.accepted > before, "nobody looked whether the member hangs"
        client.saw_nothing()


def test_one_hello_without_an_answer_ends_nothing_where_the_member_answers_others(model, relay, proxy):
    clients = [WatchedClient(proxy.port) for _ in range(2)]
    clients[0].collection.insert_one({"_id": 1, "n": 0})
    warm(model, clients)
    model.do("delay", ms=4000, commands=["update"])
    model.do("delay", ms=50, commands=["find"])
    before = relay.accepted
    relay.stall_new()
    slow = Background(clients[0].collection.update_many, {}, {"$inc": {"n": 1}})
    while not slow.is_done:
        assert clients[1].collection.find_one()["_id"] == 1
    assert slow.result().modified_count == 1 and relay.accepted > before
    relay.stall_new(False)
    for client in clients:
        client.saw_nothing()
        client.close()


def test_who_finds_no_connection_gets_one_that_is_given_back(model, relay, proxy):
    clients = [WatchedClient(proxy.port) for _ in range(4)]
    clients[0].collection.insert_one({"_id": 1})
    warm(model, clients[:2])
    relay.refuse()
    model.do("delay", ms=20, commands=["find"])

    def read(client):
        for _ in range(20):
            assert client.collection.find_one() == {"_id": 1}

    for each in [Background(read, client) for client in clients]:
        each.result()
    assert "connection lost" not in proxy.log()
    assert proxy.state()["state"] == "connected"
    for client in clients:
        client.saw_nothing()
        client.close()


def test_a_cursor_waits_for_a_connection_to_its_member(model, relay, proxy):
    with closing(WatchedClient(proxy.port)) as client, MongoClient("127.0.0.1", proxy.port) as other:
        client.collection.insert_many([{"_id": number} for number in range(5)])
        cursor = client.collection.find(batch_size=2)
        assert next(cursor)["_id"] == 0
        relay.refuse()
        model.do("delay", ms=700, commands=["count", "aggregate"])
        busy = Background(other.test.things.count_documents, {})
        wait_for(lambda: proxy.state()["sessions"]["active"] > 0, what="the connection is in use")
        assert [one["_id"] for one in cursor] == [1, 2, 3, 4]
        assert busy.result() == 5
        client.saw_nothing()
