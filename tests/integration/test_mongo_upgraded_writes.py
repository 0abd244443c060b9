"""Writes that come without a txnNumber: given one of the proxy's, they happen once whatever befalls the primary (`upgrade_writes`)."""

import pytest
from pymongo import InsertOne, MongoClient, UpdateOne
from pymongo.errors import OperationFailure

from support.holdfast import Background
from support.mongo import ModelSet
from support.mongo_listener import WatchedClient
from support.waiting import wait_for


@pytest.fixture
def model(fresh_set):
    return fresh_set


@pytest.fixture
def old_driver(model, start_holdfast):
    """A client that numbers no write, behind a proxy with the connection's keys."""
    def start(**keys):
        proxy = start_holdfast(model.uri(), connection={"type": "mongodb", **keys})
        one = WatchedClient(proxy.port, retryWrites=False)
        proxy.clients.append(one)
        one.collection.insert_one({"_id": "warm", "n": 0})
        return one
    return start


def n_of(model, key="warm"):
    with MongoClient(model.uri()) as direct:
        return direct.test.things.find_one({"_id": key})["n"]


def sessions_of(model):
    """(session, number) of the entries of `test.things` that the servers keep, None where a write has no number."""
    return [entry.get("session") and (entry["session"]["lsid"], entry["session"]["txnNumber"])
            for entry in model.do("history")["entries"] if entry["operations"][0][1] == "test.things"]


def increment(client, key="warm"):
    return client.collection.update_one({"_id": key}, {"$inc": {"n": 1}}).modified_count


@pytest.mark.parametrize("loss", ["kill", "step_down", "stop"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_write_in_flight_happens_once(model, old_driver, loss, when):
    client = old_driver()
    client.collection.insert_many([{"_id": f"d{i}", "n": 0} for i in range(3)])
    model.do("delay", ms=300, commands=["insert", "update", "delete", "findAndModify"], when=when)
    before = len(client.noticed.commands)
    writes = [Background(lambda: increment(client)),
              Background(lambda: client.collection.insert_one({"_id": "new", "n": 1}).acknowledged),
              Background(lambda: client.collection.delete_one({"_id": "d0"}).deleted_count),
              Background(lambda: client.collection.find_one_and_update({"_id": "d1"}, {"$inc": {"n": 1}})["n"] + 1),
              Background(lambda: client.collection.bulk_write([UpdateOne({"_id": "d2"}, {"$inc": {"n": 1}})] * 2).modified_count // 2)]
    wait_for(lambda: len(client.noticed.commands) >= before + 5, what="five writes sent")
    model.lose(loss)
    assert [write.result() for write in writes] == [1, True, 1, 1, 1]
    assert (n_of(model), n_of(model, "new"), n_of(model, "d1"), n_of(model, "d2")) == (1, 1, 1, 2)
    client.saw_nothing()


@pytest.mark.parametrize("form,code", [("top", 11602), ("writeErrors", 11602), ("writeConcernError", 11602), ("close", 0)])
def test_an_executed_write_whose_answer_is_lost_happens_once(model, old_driver, form, code):
    client = old_driver()
    model.do("answer_instead", commands=["update"], times=1, form=form, code=code)
    assert increment(client) == 1
    assert n_of(model) == 1
    client.saw_nothing()


def test_with_off_the_outcome_is_unknown(model, old_driver):
    client = old_driver(upgrade_writes="off")
    model.do("answer_instead", commands=["update"], times=1, form="close")
    with pytest.raises(OperationFailure) as error:
        increment(client)
    assert error.value.code == 6 and "outcome unknown" in error.value.details["errmsg"]
    assert n_of(model) == 1
    assert sessions_of(model) == [None, None]


def test_the_number_comes_with_a_session_that_no_two_writes_under_way_share(model, old_driver):
    client = old_driver()
    for _ in range(3):
        increment(client)
    alone = sessions_of(model)
    assert len({lsid for lsid, _ in alone}) == 1 and [number for _, number in alone] == [1, 2, 3, 4]
    model.do("delay", ms=2000, commands=["update"], when="before")
    writes = [Background(lambda: increment(client)) for _ in range(4)]
    assert [write.result() for write in writes] == [1] * 4
    together = sessions_of(model)[4:]
    assert len({lsid for lsid, _ in together}) == 4


def test_what_may_not_be_repeated_gets_no_number(model, old_driver):
    client = old_driver()
    client.collection.update_many({}, {"$inc": {"n": 1}})
    client.unsafe.update_one({"_id": "warm"}, {"$inc": {"n": 1}})
    assert n_of(model) == 2
    with client.client.start_session() as session, session.start_transaction():
        client.collection.update_one({"_id": "warm"}, {"$inc": {"n": 1}}, session=session)
    assert n_of(model) == 3
    many, unacknowledged, transaction = sessions_of(model)[1:]
    assert many is None and unacknowledged is None
    assert transaction[0] != sessions_of(model)[0][0], "a transaction has its client's session"
    model.do("answer_instead", commands=["update"], times=1, form="close")
    with pytest.raises(OperationFailure) as error:
        client.collection.update_many({}, {"$inc": {"n": 1}})
    assert error.value.code == 6 and "outcome unknown" in error.value.details["errmsg"]
    assert n_of(model) == 4


def test_the_drivers_own_number_stays(model, start_holdfast):
    proxy = start_holdfast(model.uri(), connection={"type": "mongodb"})
    client = WatchedClient(proxy.port)
    proxy.clients.append(client)
    with client.client.start_session() as session:
        client.collection.insert_one({"_id": "warm", "n": 0}, session=session)
        own = session.session_id["id"].hex()
    assert [lsid for lsid, _ in sessions_of(model)] == [own]


def test_what_is_refused_with_and_without_a_number_is_told_and_the_next_write_has_one(model, old_driver):
    client = old_driver()
    with MongoClient(model.members[model.primary()], directConnection=True) as direct:
        direct.admin.command("configureFailPoint", "failCommand", mode={"times": 2}, data={"failCommands": ["update"], "errorCode": 20})
    with pytest.raises(OperationFailure) as error:
        increment(client)
    assert error.value.code == 20
    assert increment(client) == 1
    assert sessions_of(model)[-1] is not None


def test_a_number_refused_by_the_next_primary_is_left_out_where_the_first_one_had_executed_nothing(model, old_driver):
    client = old_driver()
    for member in {0, 1, 2} - {model.primary()}:
        with MongoClient(model.members[member], directConnection=True) as direct:
            direct.admin.command("configureFailPoint", "failCommand", mode={"times": 1}, data={"failCommands": ["update"], "errorCode": 20})
    model.do("delay", ms=2000, commands=["update"], when="before")
    write = Background(lambda: increment(client))
    wait_for(lambda: client.noticed.commands[-1:] == ["update"], what="the write sent")
    model.do("step_down")
    assert write.result() == 1
    assert n_of(model) == 1
    assert sessions_of(model)[-1] is None
    client.saw_nothing()


def test_a_server_that_takes_no_number_is_asked_without_and_not_asked_again(model, old_driver):
    client = old_driver()
    with MongoClient(model.members[model.primary()], directConnection=True) as direct:
        direct.admin.command("configureFailPoint", "failCommand", mode={"times": 1}, data={"failCommands": ["update"], "errorCode": 301})
    assert increment(client) == 1
    assert increment(client) == 1
    assert client.collection.bulk_write([InsertOne({"_id": "other"})]).inserted_count == 1
    assert n_of(model) == 2
    assert sessions_of(model)[1:] == [None] * 3
    client.saw_nothing()


def test_a_mongos_that_would_repeat_it_by_itself_is_given_no_number(start_holdfast):
    with ModelSet("--members", 3, "--mongos", 1) as model:
        proxy = start_holdfast(f"mongodb://{model.mongos[0]}/", connection={"type": "mongodb"})
        client = WatchedClient(proxy.port, retryWrites=False)
        proxy.clients.append(client)
        client.collection.insert_one({"_id": "warm", "n": 0})
        assert sessions_of(model) == [None]
