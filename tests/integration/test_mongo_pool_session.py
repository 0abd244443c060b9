"""`pool: session`: each client connection has server connections of its own, and lives through losses all the same."""

import pytest
from pymongo import MongoClient

from support.holdfast import Background
from support.mongo_listener import WatchedClient
from support.waiting import wait_for


@pytest.fixture
def model(fresh_set):
    return fresh_set


def start(start_holdfast, model, **keys):
    return start_holdfast(model.uri(), connection={"type": "mongodb", **keys})


def connected(model, member):
    return model.state(member)["connections"]


def connected_at_rest(model):
    """Of each member, when nothing but the standing connection and the monitors is left of the start."""
    expected = [2 if member == model.primary() else 1 for member in range(len(model.members))]
    wait_for(lambda: [connected(model, member) for member in range(len(expected))] == expected, what="the start is over")
    return expected


def use(proxy, count):
    """Clients of one application connection each, all of which have asked the primary something and are idle."""
    clients = [MongoClient("127.0.0.1", proxy.port, maxPoolSize=1) for _ in range(count)]
    proxy.clients.extend(clients)
    for client in clients:
        client.test.things.find_one()
    return clients


def test_every_client_has_its_own_and_takes_it_along(model, start_holdfast):
    proxy = start(start_holdfast, model, pool="session", pool_max=2)
    primary = model.primary()
    before = connected_at_rest(model)[primary]
    clients = use(proxy, 6)
    assert connected(model, primary) == before + 6
    for client in clients:
        client.test.things.find_one()
    assert connected(model, primary) == before + 6, "the same one each time"
    clients[0].close()
    wait_for(lambda: connected(model, primary) == before + 5, what="one connection less")
    clients[1].test.things.find_one()
    assert connected(model, primary) == before + 5


def test_a_shared_pool_needs_one_for_clients_that_take_turns(model, start_holdfast):
    proxy = start(start_holdfast, model)
    primary = model.primary()
    before = connected_at_rest(model)[primary]
    use(proxy, 6)
    assert connected(model, primary) == before + 1


def test_a_client_that_reads_elsewhere_keeps_one_for_each_member(model, start_holdfast):
    proxy = start(start_holdfast, model, pool="session")
    primary = model.primary()
    before = connected_at_rest(model)
    client = MongoClient("127.0.0.1", proxy.port, maxPoolSize=1, readPreference="nearest")
    proxy.clients.append(client)
    client.test.things.insert_one({})
    wait_for(lambda: client.test.things.find_one() and all(connected(model, member) > before[member] for member in range(3)),
             what="reads from every member")
    for _ in range(30):
        client.test.things.find_one()
    assert [connected(model, member) - before[member] for member in range(3)] == [1, 1, 1]
    assert model.primary() == primary


@pytest.mark.parametrize("loss", ["kill", "step_down", "drop_connections"])
def test_losses_stay_unseen(model, start_holdfast, loss):
    proxy = start(start_holdfast, model, pool="session")
    watched = WatchedClient(proxy.port)
    proxy.clients.append(watched)
    watched.collection.insert_one({"_id": "warm", "n": 0})
    model.do("delay", ms=300, commands=["update"], when="after")
    before = len(watched.noticed.commands)
    writes = [Background(lambda: watched.collection.update_one({"_id": "warm"}, {"$inc": {"n": 1}}).modified_count) for _ in range(4)]
    wait_for(lambda: len(watched.noticed.commands) >= before + 4, what="four writes sent")
    model.lose(loss)
    assert [write.result() for write in writes] == [1] * 4
    assert watched.collection.find_one({"_id": "warm"})["n"] == 4
    watched.saw_nothing()
