"""Interrupted batches in which some statements fail or match nothing: each one's outcome is told as if nothing had happened."""

import pytest
from bson import Int64
from pymongo import DeleteOne, MongoClient, UpdateMany, UpdateOne
from pymongo.errors import BulkWriteError, OperationFailure

from support.holdfast import Background
from support.mongo import ModelSet
from support.mongo_listener import WatchedClient
from support.waiting import wait_for

# The wire version, and whether the driver numbers its writes or holdfast does.
BEFORE_5_0, NEWER = (9, True), (21, False)
NEWER_WIRE = 13
LOSSES = {
    "close": lambda model, command: model.do("answer_instead", commands=[command], form="close"),
    "closed twice": lambda model, command: model.do("answer_instead", commands=[command], form="close", times=2),
    "11602": lambda model, command: model.do("answer_instead", commands=[command], form="top", code=11602),
    "kill": lambda model, command: model.do("delay", ms=3000, commands=[command], when="after"),
}
losses = pytest.mark.parametrize("loss", LOSSES)
two_losses = pytest.mark.parametrize("loss", ["close", "kill"])
ordered_and_not = pytest.mark.parametrize("ordered", [True, False], ids=["ordered", "unordered"])


@pytest.fixture(params=[BEFORE_5_0, NEWER], ids=["before 5.0", "newer"])
def model(request, fresh_set):
    """Real mongods are of the version that they are; only who numbers the writes changes there."""
    wire, fresh_set.is_numbered_by_driver = request.param
    if fresh_set.keeps_history:
        fresh_set.do("set", settings={"wire": wire})
    fresh_set.is_newer = (wire if fresh_set.keeps_history else fresh_set.ready["wire"]) >= NEWER_WIRE
    return fresh_set


@pytest.fixture
def watched(model, start_holdfast):
    proxy = start_holdfast(model.uri(), connection={"type": "mongodb"})
    one = WatchedClient(proxy.port, retryWrites=model.is_numbered_by_driver)
    proxy.clients.append(one)
    one.collection.insert_many([{"_id": "warm", "n": 0}, {"_id": "other", "n": 0}])
    return one


def interrupted(model, watched, loss, command, call):
    """The result of `call`, whose answer is lost after `command` was executed."""
    LOSSES[loss](model, command)
    if loss != "kill":
        return call()
    sent = len(watched.noticed.commands)
    work = Background(call)
    wait_for(lambda: len(watched.noticed.commands) > sent, what=f"{command} sent")
    wait_for(lambda: model.has_executed(command), what=f"{command} executed")
    model.lose("kill", how="rst")
    return work.result()


def failed(call):
    """(nInserted, [(index, code), …]) of a batch that fails in part."""
    with pytest.raises(BulkWriteError) as error:
        call()
    return error.value.details["nInserted"], [(one["index"], one["code"]) for one in error.value.details["writeErrors"]]


def stored(model):
    with MongoClient(model.uri()) as direct:
        return {one["_id"]: one.get("n") for one in direct.test.things.find({})}


BATCHES = [("a b a c", [2]), ("warm d warm", [0, 2]), ("e warm f other", [1, 3]), ("warm other", [0, 1])]


@losses
def test_an_unordered_insert_keeps_its_errors_and_their_places(model, watched, loss):
    batches = BATCHES[:1] if loss == "kill" else BATCHES
    for names, expected in batches:
        documents = [{"_id": name, "n": 0} for name in names.split()]
        result = interrupted(model, watched, loss, "insert", lambda: failed(lambda: watched.collection.insert_many(documents, ordered=False)))  # noqa: B023
        assert result == (len(documents) - len(expected), [(place, 11000) for place in expected]), names
    assert set(stored(model)) == {"warm", "other"}.union(*[names.split() for names, _ in batches])
    watched.saw_nothing()


@two_losses
def test_an_ordered_insert_ends_at_its_first_error(model, watched, loss):
    documents = [{"_id": name} for name in ("a", "b", "warm", "c")]
    result = interrupted(model, watched, loss, "insert", lambda: failed(lambda: watched.collection.insert_many(documents)))
    assert result == (2, [(2, 11000)])
    assert set(stored(model)) == {"warm", "other", "a", "b"}
    watched.saw_nothing()


@losses
@ordered_and_not
def test_updates_that_match_nothing_or_insert_are_told_each_by_itself(model, watched, loss, ordered):
    updates = [UpdateOne({"_id": "warm"}, {"$inc": {"n": 1}}), UpdateOne({"_id": "nobody"}, {"$inc": {"n": 1}}),
               UpdateOne({"_id": "new"}, {"$inc": {"n": 1}}, upsert=True), UpdateOne({"_id": "other"}, {"$inc": {"n": 1}}),
               UpdateOne({"_id": "new"}, {"$inc": {"n": 1}})]
    result = interrupted(model, watched, loss, "update", lambda: watched.collection.bulk_write(updates, ordered=ordered))
    assert (result.matched_count, result.modified_count, result.upserted_ids) == (3, 3, {2: "new"})
    assert stored(model) == {"warm": 1, "other": 1, "new": 2}
    watched.saw_nothing()


@ordered_and_not
def test_updates_keep_their_order_where_the_first_try_was_never_executed(model, watched, ordered):
    updates = [UpdateOne({"_id": "fresh"}, {"$inc": {"n": 1}}), UpdateOne({"_id": "fresh"}, {"$setOnInsert": {"n": 1}}, upsert=True)]
    model.do("delay", ms=5000, commands=["update"], when="before")
    before = commands_of(model, "update")
    work = Background(lambda: watched.collection.bulk_write(updates, ordered=ordered))
    wait_for(lambda: commands_of(model, "update") > before, what="update sent")
    model.lose("kill", how="rst")
    assert work.result().upserted_ids == {1: "fresh"}
    assert stored(model)["fresh"] == 1, "asked for by itself the first one would have found what the second one has made"
    watched.saw_nothing()


@two_losses
def test_deletes_that_match_nothing_are_told(model, watched, loss):
    deletes = [DeleteOne({"_id": name}) for name in ("nobody", "warm", "neither")]
    result = interrupted(model, watched, loss, "delete", lambda: watched.collection.bulk_write(deletes))
    assert result.deleted_count == 1
    assert stored(model) == {"other": 0}
    watched.saw_nothing()


def test_a_mongos_that_repeats_by_itself_leaves_nothing_out(start_holdfast):
    with ModelSet("--members", 3, "--mongos", 1) as model:
        proxy = start_holdfast("mongodb://" + model.mongos[0], connection={"type": "mongodb"})
        watched = WatchedClient(proxy.port)
        proxy.clients.append(watched)
        model.do("answer_instead", commands=["insert"], form="close")
        documents = [{"_id": name} for name in ("a", "b", "a", "c")]
        assert failed(lambda: watched.collection.insert_many(documents, ordered=False)) == (3, [(2, 11000)])
        assert set(stored(model)) == {"a", "b", "c"}
        watched.saw_nothing()
        assert "Traceback" not in model.problems, model.problems


def test_a_long_batch_is_asked_for_by_halves(model, watched):
    documents = [{"_id": f"d{number}" if number != 300 else "warm"} for number in range(1000)]
    model.do("answer_instead", commands=["insert"], form="close")
    before = commands_of(model)
    assert failed(lambda: watched.collection.insert_many(documents, ordered=False)) == (999, [(300, 11000)])
    assert commands_of(model) - before < 2 + 2 * 10 + 1
    assert len(stored(model)) == 1001
    watched.saw_nothing()


def commands_of(model, name="insert"):
    return sum(member["commands"].get(name, 0) for member in model.state()["members"])


def test_statements_in_the_body_and_numbers_of_the_clients_own_are_kept(model, watched):
    model.do("answer_instead", commands=["insert"], form="close")
    documents = [{"_id": name} for name in ("a", "warm", "b")]
    with watched.client.start_session() as session:
        reply = watched.client.test.command({"insert": "things", "documents": documents, "ordered": False, "txnNumber": Int64(77),
                                             "stmtIds": [9, 4, 6]}, session=session, check=True)
    assert reply["n"] == 2 and [error["index"] for error in reply["writeErrors"]] == [1]
    assert set(stored(model)) == {"warm", "other", "a", "b"}


@two_losses
def test_a_batch_with_an_update_of_many_is_outcome_unknown_as_a_whole(model, watched, loss):
    updates = [UpdateOne({"_id": "warm"}, {"$inc": {"n": 1}}), UpdateMany({}, {"$inc": {"n": 1}})]
    with pytest.raises(OperationFailure) as error:
        interrupted(model, watched, loss, "update", lambda: watched.collection.bulk_write(updates))
    assert error.value.code == 6 and "outcome unknown" in error.value.details["errmsg"]
    assert stored(model)["warm"] <= 2


def test_before_5_0_a_document_that_fits_nowhere_leaves_the_outcome_unknown(model, watched):
    """It has no number there, so that those behind it have others than their places say."""
    model.do("answer_instead", commands=["insert"], form="close")
    documents = [{"_id": ["no", "array"]}, {"_id": "a"}, {"_id": "b"}]
    call = lambda: watched.collection.insert_many(documents, ordered=False)  # noqa: E731
    if model.is_newer:
        assert failed(call) == (2, [(0, 2)])
    else:
        with pytest.raises(OperationFailure) as error:
            call()
        assert error.value.code == 6
    assert set(stored(model)) == {"warm", "other", "a", "b"}
