"""The table of what a MongoDB client sees, row by row, with PyMongo on the model set and on real mongods: the driver's own listeners decide."""

import json
import socket
import struct
import threading

import bson
import pytest
from pymongo import MongoClient, UpdateOne
from pymongo.errors import CursorNotFound, OperationFailure
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from support.holdfast import Background
from support.mongo import ModelSet
from support.mongo_listener import WatchedClient
from support.waiting import wait_for


@pytest.fixture
def model(module_set):
    """A set with a primary that all follow, and an empty database."""
    try:
        module_set.restore(deadline=5.0)
    except AssertionError:  # a member that the test before left behind begins anew
        for number, member in enumerate(module_set.state()["members"]):
            if member["role"] != "primary":
                module_set.do("kill", member=number)
                module_set.do("start", member=number)
        module_set.wait_for(module_set.settled, what="a primary that all follow")
    with MongoClient(module_set.uri()) as direct:
        direct.drop_database("test")
    return module_set


def needs_a_successor(model):
    if len(model.members) < 3:
        pytest.skip("nobody else can be elected")


@pytest.fixture
def proxy(model, start_holdfast):
    return start_holdfast(model.uri(), connection={"type": "mongodb", "reconnect": {"hang_timeout": "500ms"}})


@pytest.fixture
def watched(proxy):
    one = WatchedClient(proxy.port)
    proxy.clients.append(one)
    one.collection.insert_one({"_id": "warm", "n": 0})
    return one


LOSSES = {
    "kill": lambda model: model.lose("kill", how="rst"),
    "stepdown": lambda model: model.lose("step_down"),
    "stop": lambda model: model.lose("stop"),
    "cut": lambda model: model.lose("drop_connections", how="rst"),
}
losses = pytest.mark.parametrize("loss", LOSSES)


def n_of(model, key="warm"):
    with MongoClient(model.uri()) as direct:
        return direct.test.things.find_one({"_id": key})["n"]


@losses
def test_row_1_an_idle_client_notices_nothing(model, watched, proxy, loss):
    LOSSES[loss](model)
    model.wait_for(lambda: model.primary() is not None, what="a primary")
    proxy.wait_for_state("connected")
    assert watched.client.admin.command("ping")["ok"] == 1
    assert watched.collection.find_one({"_id": "warm"})["n"] == 0
    watched.saw_nothing()


@losses
def test_row_2_operations_that_find_no_primary_wait_for_one(model, watched, loss):
    LOSSES[loss](model)
    watched.collection.update_one({"_id": "warm"}, {"$inc": {"n": 1}})
    assert watched.collection.find_one({"_id": "warm"})["n"] == 1
    watched.collection.update_many({}, {"$inc": {"n": 1}})
    assert watched.collection.count_documents({}) == 1
    watched.client.test.create_collection("made_while_waiting")
    assert n_of(model) == 2
    watched.saw_nothing()


def test_row_2_the_wait_ends_with_an_error_that_says_it_was_not_executed(model, start_holdfast):
    proxy = start_holdfast(model.uri(), connection={"type": "mongodb", "reconnect": {"hold_timeout": "300ms"}})
    watched = WatchedClient(proxy.port, retryWrites=False, retryReads=False)
    proxy.clients.append(watched)
    watched.collection.insert_one({"_id": "warm", "n": 0})
    for member in range(len(model.members)):
        model.do("kill", member=member)
    with pytest.raises(OperationFailure) as error:
        watched.collection.update_one({"_id": "warm"}, {"$inc": {"n": 1}}, comment="not executed")
    assert error.value.code in (133, 462), error.value.details
    assert "not executed" in error.value.details["errmsg"]
    with pytest.raises(OperationFailure) as limited:
        watched.collection.find_one({}, max_time_ms=100)
    assert limited.value.code == 50
    assert not [line for line in watched.noticed.trouble if "failed:" not in line], watched.noticed.trouble


@losses
def test_row_3_a_read_in_flight_is_read_again(model, watched, loss):
    model.do("delay", ms=400, commands=["find", "aggregate", "count", "distinct", "listCollections"], when="before")
    reads = [Background(lambda: watched.collection.find_one({"_id": "warm"})["n"]),
             Background(lambda: list(watched.collection.aggregate([{"$match": {"_id": "warm"}}]))[0]["n"]),
             Background(lambda: len(watched.collection.distinct("n")) - 1),
             Background(lambda: len(watched.client.test.list_collection_names()) - 1)]
    wait_for(lambda: len(watched.noticed.commands) >= 5, what="four reads sent")
    LOSSES[loss](model)
    assert [read.result() for read in reads] == [0, 0, 0, 0]
    watched.saw_nothing()


@losses
@pytest.mark.parametrize("when", ["before", "after"])
def test_row_4_a_numbered_write_in_flight_happens_once(model, watched, loss, when):
    commands = ["insert", "update", "delete", "findAndModify"]
    watched.collection.insert_many([{"_id": f"d{i}", "n": 0} for i in range(3)])
    model.do("delay", ms=300, commands=commands, when=when)
    before = len(watched.noticed.commands)
    writes = [Background(lambda: watched.collection.update_one({"_id": "warm"}, {"$inc": {"n": 1}}).modified_count),
              Background(lambda: watched.collection.insert_one({"_id": "new", "n": 1}).acknowledged),
              Background(lambda: watched.collection.delete_one({"_id": "d0"}).deleted_count),
              Background(lambda: watched.collection.find_one_and_update({"_id": "d1"}, {"$inc": {"n": 1}})["n"] + 1),
              Background(lambda: watched.collection.bulk_write([UpdateOne({"_id": "d2"}, {"$inc": {"n": 1}}), UpdateOne({"_id": "d2"}, {"$inc": {"n": 1}})]).modified_count // 2)]
    wait_for(lambda: len(watched.noticed.commands) >= before + 5, what="five writes sent")
    LOSSES[loss](model)
    assert [write.result() for write in writes] == [1, True, 1, 1, 1]
    assert (n_of(model), n_of(model, "new"), n_of(model, "d1"), n_of(model, "d2")) == (1, 1, 1, 2)
    watched.saw_nothing()


@pytest.mark.parametrize("form,code", [("top", 11602), ("writeErrors", 11602), ("writeErrors", 189), ("writeConcernError", 11602),
                                       ("top", 91), ("top", 11600), ("close", 0)])
def test_row_4_an_executed_write_that_is_answered_with_a_state_change_happens_once(model, watched, form, code):
    model.do("answer_instead", commands=["update"], times=1, form=form, code=code)
    assert watched.collection.update_one({"_id": "warm"}, {"$inc": {"n": 1}}).modified_count == 1
    assert n_of(model) == 1
    watched.saw_nothing()


@pytest.mark.parametrize("fields", [{"n": 1}, {"n": 1, "_id": 0}, {"inner.a": 1, "list.x": 1}, {"list.x": 0, "inner": False}, {"_id": 0}])
def test_row_4_a_repeated_find_and_modify_shows_the_fields_that_were_asked_for(model, watched, fields):
    document = {"n": 0, "inner": {"a": 1, "b": 2}, "list": [{"x": 1, "y": 2}, 3, {"y": 4}]}
    watched.collection.insert_many([{"_id": "a", **document}, {"_id": "b", **document}])
    expected = watched.collection.find_one_and_update({"_id": "a"}, {"$inc": {"n": 1}}, projection=fields)
    model.do("answer_instead", commands=["findAndModify"], times=1, form="close")
    found = watched.collection.find_one_and_update({"_id": "b"}, {"$inc": {"n": 1}}, projection=fields)
    assert {**found, "_id": "a"} == {"_id": "a", **expected}
    assert n_of(model, "b") == 1
    watched.saw_nothing()


def test_row_4_a_repeated_find_and_modify_with_more_than_paths_is_outcome_unknown(model, watched):
    model.do("answer_instead", commands=["findAndModify"], times=1, form="close")
    with pytest.raises(OperationFailure) as error:
        watched.collection.find_one_and_update({"_id": "warm"}, {"$inc": {"n": 1}}, projection={"list": {"$slice": 1}})
    assert error.value.code == 6 and "outcome unknown" in error.value.details["errmsg"]
    assert n_of(model) == 1


@pytest.mark.parametrize("form,code", [("top", 11602), ("writeErrors", 11602), ("top", 91), ("close", 0)])
def test_row_5_an_update_of_many_whose_outcome_is_unknown_says_so_and_is_not_repeated(model, watched, form, code):
    model.do("answer_instead", commands=["update"], times=1, form=form, code=code)
    with pytest.raises(OperationFailure) as error:
        watched.collection.update_many({}, {"$inc": {"n": 1}})
    assert error.value.code == 6 and "outcome unknown" in error.value.details["errmsg"], error.value.details
    assert not error.value.has_error_label("RetryableWriteError")
    assert n_of(model) == 1
    assert watched.collection.update_one({"_id": "warm"}, {"$inc": {"n": 1}}).modified_count == 1
    assert not [line for line in watched.noticed.trouble if "update failed" not in line], watched.noticed.trouble


def test_row_6_an_unacknowledged_write_survives_a_stepdown_and_its_client_keeps_its_connection(model, watched):
    model.do("step_down")
    watched.unsafe.update_one({"_id": "warm"}, {"$inc": {"n": 1}})
    assert watched.collection.find_one({"_id": "warm"})["n"] == 1
    watched.saw_nothing()


def unacknowledged_insert(number):
    body = bson.encode({"insert": "things", "documents": [{"_id": number}], "writeConcern": {"w": 0}, "$db": "test"})
    content = struct.pack("<IB", 2, 0) + body  # moreToCome: no answer is wanted
    return struct.pack("<iiii", 16 + len(content), number, 0, 2013) + content


def test_row_6_what_a_client_wrote_unacknowledged_before_it_left_is_written(model, proxy, watched):
    model.do("delay", ms=100, commands=["insert"], when="before")
    with socket.create_connection(("127.0.0.1", proxy.port)) as client:
        client.sendall(b"".join(unacknowledged_insert(number) for number in range(10)))
    wait_for(lambda: watched.collection.count_documents({"_id": {"$type": "int"}}) == 10, deadline=10, what="all of them")


@pytest.mark.parametrize("loss", ["stepdown", "cut"])
def test_row_7_an_open_cursor_goes_on_where_its_process_lives(model, proxy, watched, loss):
    watched.collection.insert_many([{"k": i} for i in range(50)])
    cursor = watched.collection.find({"k": {"$exists": True}}, batch_size=7)
    first = next(cursor)["k"]
    LOSSES[loss](model)
    if loss == "cut":
        proxy.wait_for_log("connection lost to main")  # a getMore in flight would be another row
    assert [first] + [one["k"] for one in cursor] == list(range(50))
    watched.saw_nothing()


def test_row_8_a_cursor_of_a_dead_process_is_not_found_and_says_why(model, watched):
    watched.collection.insert_many([{"k": i} for i in range(50)])
    cursor = watched.collection.find({}, batch_size=7)
    next(cursor)
    model.lose("kill", how="rst")
    with pytest.raises(CursorNotFound) as error:
        list(cursor)
    if len(model.members) > 1:  # else the new process at its address may be asked, and says that it is not found
        assert "holdfast: the cursor was lost" in error.value.details["errmsg"]
    assert watched.collection.find_one({"_id": "warm"})["n"] == 0
    assert not [line for line in watched.noticed.trouble if not line.startswith(("getMore failed", "killCursors failed"))], watched.noticed.trouble


def test_row_8_a_change_stream_resumes_and_misses_nothing(model, watched):
    with watched.collection.watch(max_await_time_ms=200) as stream:
        watched.collection.insert_one({"_id": "a"})
        assert stream.next()["documentKey"]["_id"] == "a"
        model.lose("kill", how="rst")
        watched.collection.insert_one({"_id": "b"})
        assert stream.next()["documentKey"]["_id"] == "b"
    assert not [line for line in watched.noticed.trouble if not line.startswith("getMore failed")], watched.noticed.trouble


def test_row_8_a_change_stream_outlives_the_rollback_of_its_member(model, watched):
    """The member knows the cursor still, but its plan is gone (175), and no driver resumes after that code."""
    needs_a_successor(model)
    with watched.collection.watch(max_await_time_ms=200) as stream:
        watched.collection.with_options(write_concern=WriteConcern("majority")).insert_one({"_id": "a"})
        assert stream.next()["documentKey"]["_id"] == "a"
        old = model.primary()
        with model.direct(old, readPreference="secondaryPreferred") as direct:
            things = direct.test[watched.collection.name]
            direct.admin.command("ping")  # once it is cut off it has half a second until it steps down
            model.do("hold_replication")
            model.do("partition", member=old)
            things.with_options(write_concern=WriteConcern(1)).insert_one({"_id": "doomed"})
            model.wait_for(lambda: model.primary() not in (None, old), what="another primary")
            model.do("heal")
            model.wait_for(lambda: things.find_one({"_id": "doomed"}) is None, what="the old primary has rolled back")
        watched.collection.insert_one({"_id": "b"})
        assert stream.next()["documentKey"]["_id"] == "b"


def test_row_9_a_transaction_goes_on_after_its_connection_was_cut(model, proxy, watched):
    with watched.client.start_session() as session, session.start_transaction():
        watched.collection.update_one({"_id": "warm"}, {"$inc": {"n": 1}}, session=session)
        model.do("drop_connections", how="rst")
        proxy.wait_for_log("connection lost to main")  # the cut has arrived, and no statement is in flight
        watched.collection.insert_one({"_id": "in", "n": 1}, session=session)
    assert (n_of(model), n_of(model, "in")) == (1, 1)
    watched.saw_nothing()


@pytest.mark.parametrize("loss", ["kill", "stepdown"])
def test_rows_9_and_10_a_lost_transaction_runs_again_as_a_whole(model, watched, loss):
    runs = []

    def body(session):
        runs.append(1)
        watched.collection.update_one({"_id": "warm"}, {"$inc": {"n": 1}}, session=session)
        if len(runs) == 1:
            LOSSES[loss](model)
        watched.collection.update_one({"_id": "warm"}, {"$inc": {"n": 10}}, session=session)

    with watched.client.start_session() as session:
        session.with_transaction(body)
    assert len(runs) == 2
    assert n_of(model) == 11
    only_errors = [line for line in watched.noticed.trouble if not line.startswith(("update failed", "abortTransaction failed"))]
    assert not only_errors, only_errors


@pytest.mark.parametrize("form,code", [("top", 11602), ("top", 91), ("writeConcernError", 11602), ("close", 0)])
def test_row_11_a_commit_whose_answer_was_lost_is_committed_once(model, watched, form, code):
    runs = []

    def body(session):
        runs.append(1)
        watched.collection.update_one({"_id": "warm"}, {"$inc": {"n": 1}}, session=session)

    model.do("answer_instead", commands=["commitTransaction"], times=1, form=form, code=code)
    with watched.client.start_session() as session:
        session.with_transaction(body)
    assert len(runs) == 1
    assert n_of(model) == 1
    watched.saw_nothing()


def test_row_11_a_commit_that_was_done_is_not_told_as_failed_because_its_repetition_was_killed(model, watched):
    runs = []

    def body(session):
        runs.append(1)
        watched.collection.update_one({"_id": "warm"}, {"$inc": {"n": 1}}, session=session)

    model.do("answer_instead", commands=["commitTransaction"], times=1, form="close")
    model.do("answer_instead", commands=["commitTransaction"], times=1, form="top", code=11601)
    with watched.client.start_session() as session:
        session.with_transaction(body)
    assert (len(runs), n_of(model)) == (1, 1)


def test_row_11_a_commit_of_a_transaction_that_only_read_survives_the_primary(model, watched):
    with watched.client.start_session() as session, session.start_transaction(write_concern=WriteConcern(1)):
        assert watched.collection.find_one({"_id": "warm"}, session=session)["n"] == 0
        model.lose("kill", how="rst")
    watched.saw_nothing()


def test_row_11_for_a_majority_it_runs_again_because_what_it_has_read_may_be_gone(model, watched):
    needs_a_successor(model)
    one_member = watched.collection.with_options(write_concern=WriteConcern(1))
    model.do("hold_replication")
    one_member.insert_one({"_id": "gone"})
    seen = []

    def body(session):
        seen.append(watched.collection.find_one({"_id": "gone"}, session=session) is not None)
        if len(seen) == 1:
            model.do("kill")
            model.do("heal")
            model.wait_for(lambda: model.primary() is not None, what="its successor")

    with watched.client.start_session() as session:
        session.with_transaction(body, read_concern=ReadConcern("snapshot"), write_concern=WriteConcern("majority"))
    assert seen == [True, False]


def test_a_frozen_primary_is_left_for_the_one_that_the_others_elect(model, watched):
    needs_a_successor(model)
    old = model.primary()
    model.do("freeze", member=old)
    watched.collection.update_one({"_id": "warm"}, {"$inc": {"n": 1}})
    assert model.primary() != old
    model.do("thaw", member=old, silent=0)
    model.wait_for(lambda: settled_roughly(model), deadline=20.0, what="one primary and two who follow it")
    assert watched.collection.find_one({"_id": "warm"})["n"] == 1
    assert n_of(model) == 1
    watched.saw_nothing()


def test_a_frozen_primary_is_not_waited_for_on_behalf_of_a_client_that_has_gone(model, proxy, watched):
    """Its write would have a connection of the pool until the primary thaws."""
    def under_way():
        return [one["client"] for one in json.loads(proxy.admin("/api/v1/sessions")[1]) if one["state"] == "active"]

    write = bson.encode({"insert": "things", "documents": [{}], "$db": "test"})
    with socket.create_connection(("127.0.0.1", proxy.port)) as client:
        model.do("freeze")
        client.sendall(struct.pack("<iiiiIB", 21 + len(write), 1, 0, 2013, 0, 0) + write)
        wait_for(lambda: len(under_way()) == 1, what="a write that waits for the primary")
    wait_for(lambda: not under_way(), what="the end of its session")
    watched.saw_nothing()


def test_an_oracle_of_concurrent_writers_loses_nothing_and_doubles_nothing(model, watched):
    """Eight writers with unique ids under six losses: a counter and a list, both exact at the end."""
    watched.collection.insert_one({"_id": "list", "ids": []})
    ended = threading.Event()
    done = []

    def write(writer):
        number = 0
        while not ended.is_set():
            identity = f"{writer}-{number}"
            watched.collection.update_one({"_id": "warm"}, {"$inc": {"n": 1}})
            watched.collection.update_one({"_id": "list"}, {"$push": {"ids": identity}})
            done.append(identity)
            number += 1

    writers = [Background(write, writer) for writer in range(8)]
    try:
        for loss in ("stepdown", "kill", "cut", "stepdown", "stop", "kill"):
            before = len(done)
            model.wait_for(lambda seen=before: len(done) > seen + 16, what="writes go on")
            LOSSES[loss](model)
            model.wait_for(lambda: model.primary() is not None, what="a primary")
            for number, member in enumerate(model.state()["members"]):
                if not member["running"]:
                    model.do("start", member=number)
            model.wait_for(lambda: settled_roughly(model), what="a whole set")
    finally:
        ended.set()
    for writer in writers:
        writer.result()
    stored = watched.collection.find_one({"_id": "list"})["ids"]
    assert sorted(stored) == sorted(done)
    assert n_of(model) == len(done)
    watched.saw_nothing()


def settled_roughly(model):
    roles = [one["role"] for one in model.state()["members"]]
    return roles.count("primary") == 1 and roles.count("secondary") == len(roles) - 1


def test_a_standalone_is_shown_as_one_and_nothing_is_doubled(start_holdfast):
    with ModelSet("--standalone") as model:
        proxy = start_holdfast(model.uri(), connection={"type": "mongodb"})
        watched = WatchedClient(proxy.port, retryWrites=False)
        proxy.clients.append(watched)
        watched.collection.insert_one({"_id": "warm", "n": 0})
        assert watched.client.topology_description.topology_type_name == "Single"
        assert "setName" not in watched.client.admin.command("hello")
        model.do("answer_instead", commands=["update"], times=1, form="close")
        with pytest.raises(OperationFailure) as error:
            watched.collection.update_one({"_id": "warm"}, {"$inc": {"n": 1}})
        assert error.value.code == 6 and "outcome unknown" in error.value.details["errmsg"]
        assert watched.collection.find_one({"_id": "warm"})["n"] == 1
        model.do("answer_instead", commands=["find"], times=1, form="close")
        assert watched.collection.find_one({"_id": "warm"})["n"] == 1
        assert not [line for line in watched.noticed.trouble if "update failed" not in line], watched.noticed.trouble


def test_a_thousand_client_sockets_are_few_at_the_server(model, start_holdfast):
    proxy = start_holdfast(model.uri(), connection={"type": "mongodb", "pool_max": 8})
    watched = WatchedClient(proxy.port, maxPoolSize=200)
    proxy.clients.append(watched)
    watched.collection.insert_one({"_id": "warm", "n": 0})
    model.do("delay", ms=20, commands=["find"], when="before")
    reads = [Background(lambda: watched.collection.find_one({"_id": "warm"})["n"]) for _ in range(60)]
    assert [read.result() for read in reads] == [0] * 60
    assert watched.noticed.connections > 20
    watched.saw_nothing()
