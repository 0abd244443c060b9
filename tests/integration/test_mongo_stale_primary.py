"""A primary that slept through its replacement and wakes: what it says of itself is older than what is known, and is not believed."""

import pytest
from pymongo import MongoClient
from pymongo.write_concern import WriteConcern

from support.holdfast import Background
from support.mongo import ModelSet
from support.mongo_listener import WatchedClient
from support.waiting import wait_for


@pytest.fixture
def model():
    with ModelSet("--members", 3) as one:
        yield one
    assert not one.problems, one.problems


@pytest.fixture
def watched(model, start_holdfast):
    proxy = start_holdfast(model.uri(), connection={"type": "mongodb", "reconnect": {"hang_timeout": "500ms"}})
    one = WatchedClient(proxy.port)
    proxy.clients.append(one)
    one.collection.insert_one({"_id": "warm", "n": 0})
    return one


@pytest.fixture
def stale(model, watched):
    """The member that still takes itself for the primary, alone with the client: its successor has died, the third cannot be elected."""
    old = model.primary()
    model.do("freeze", member=old)
    # The first may still be executed by the sleeper when it wakes, the second may not.
    watched.collection.update_one({"_id": "warm"}, {"$inc": {"n": 1}})
    watched.collection.update_one({"_id": "warm"}, {"$inc": {"n": 1}})
    successor = model.primary()
    assert successor not in (None, old)
    # The one who wakes hears of nobody for a while, so the third finds no majority.
    model.do("thaw", member=old, silent=3.0)
    model.do("kill", member=successor)
    yield old
    model.do("start", member=successor)
    wait_for(model.whole, 20.0, "a whole set")


def test_it_is_not_read_from(model, watched, stale):
    assert model.state(stale)["role"] == "primary"
    assert watched.collection.find_one({"_id": "warm"})["n"] == 2
    watched.saw_nothing()


def test_a_write_for_one_member_that_it_took_is_not_acknowledged_from_it(model, watched, stale):
    one_member = watched.client.test.get_collection("things", write_concern=WriteConcern(1))
    write = Background(lambda: one_member.update_one({"_id": "warm"}, {"$inc": {"n": 10}}).modified_count)
    assert write.result() == 1
    assert watched.collection.find_one({"_id": "warm"})["n"] == 12
    watched.saw_nothing()


def test_one_that_is_cut_off_from_its_set_is_left_although_it_has_nothing_new_to_say(model, watched):
    model.do("set", settings={"election": 8.0})  # so long it takes itself for the primary
    old = model.primary()
    model.do("partition", member=old)
    successor = (old + 1) % 3
    model.do("elect", member=successor)
    with MongoClient(model.members[successor], directConnection=True) as direct:
        things = direct.test.get_collection("things", write_concern=WriteConcern("majority"))
        things.update_one({"_id": "warm"}, {"$inc": {"n": 7}})
    wait_for(lambda: watched.collection.find_one({"_id": "warm"})["n"] == 7, 4.0, "a read of the new primary")
    assert model.state(old)["role"] == "primary"
    watched.saw_nothing()
    model.do("heal")


def test_a_find_and_modify_that_it_took_is_not_acknowledged_from_it_although_its_reply_names_no_election(model, start_holdfast):
    proxy = start_holdfast(model.uri(), connection={"type": "mongodb", "reconnect": {"hang_timeout": "60s"}})
    watched = WatchedClient(proxy.port)
    proxy.clients.append(watched)
    watched.collection.insert_one({"_id": "warm", "n": 0})
    one_member = watched.client.test.get_collection("things", write_concern=WriteConcern(1))
    one_member.find_one_and_update({"_id": "warm"}, {"$inc": {"n": 1}})
    old = model.primary()
    model.do("freeze", member=old)
    write = Background(lambda: one_member.find_one_and_update({"_id": "warm"}, {"$inc": {"n": 10}}))
    wait_for(lambda: proxy.state()["sessions"]["active"] == 1, what="the write under way")
    wait_for(lambda: model.primary() not in (None, old), what="its successor")
    watched.collection.update_one({"_id": "warm"}, {"$inc": {"n": 1}})
    model.do("thaw", member=old, silent=2.0)
    assert write.result()["n"] in (1, 2)
    wait_for(lambda: model.state(old)["role"] == "secondary", deadline=20, what="its end as a primary")
    assert watched.collection.find_one({"_id": "warm"})["n"] == 12
    watched.saw_nothing()
