"""PyMongo straight on the model replica set: what reads leave open. Cursors, hints and their bounds, change streams and their tokens."""

import threading
import time

import pymongo
import pytest
from bson import Int64, Timestamp
from pymongo import MongoClient
from pymongo.errors import AutoReconnect, OperationFailure, PyMongoError

from support.waiting import wait_for

pytestmark = pytest.mark.fault_free


@pytest.fixture
def model(module_model):
    """A set of three that speaks as a 4.4, with an empty database."""
    module_model.restore()
    module_model.do("set", settings={"wire": 9})
    with MongoClient(module_model.uri()) as client:
        client.drop_database("test")
    return module_model


@pytest.fixture
def client(model):
    with MongoClient(model.uri()) as one:
        yield one


@pytest.fixture
def newer(model):
    """A client of the same set, speaking as a 7.0."""
    model.do("set", settings={"wire": 21})
    with MongoClient(model.uri()) as one:
        yield one


class Test_cursors:
    def test_a_cursor_lives_through_a_stepdown_but_not_through_a_kill(self, model, client):
        client.test.c.insert_many([{"_id": number} for number in range(30)])
        with model.direct(model.primary()) as one:
            cursor = one.test.c.find(batch_size=10)
            next(cursor)
            model.do("step_down")
            assert len(list(cursor)) == 29
        wait_for(model.settled)
        number = model.primary()
        with model.direct(number) as one:
            cursor = one.test.c.find(batch_size=10)
            next(cursor)
            model.do("kill", member=number)
            model.do("start", member=number)
            with pytest.raises(PyMongoError) as error:
                list(cursor)
            assert isinstance(error.value, AutoReconnect) or error.value.code == 43

    def test_a_tailable_cursor_waits_for_data(self, client):
        client.test.create_collection("capped", capped=True, size=10000)
        client.test.capped.insert_one({"_id": 1})
        cursor = client.test.capped.find(cursor_type=pymongo.CursorType.TAILABLE_AWAIT).max_await_time_ms(20_000)
        assert next(cursor) == {"_id": 1}
        threading.Timer(0.1, client.test.capped.insert_one, ({"_id": 2},)).start()
        assert next(cursor) == {"_id": 2}

    def test_a_hint_gives_the_order_of_its_index_and_min_and_max_its_bounds(self, client):
        client.test.c.insert_many([{"_id": number, "a": number % 3} for number in range(6)])
        client.test.c.create_index([("a", -1), ("_id", 1)], name="down")
        identities = lambda cursor: [one["_id"] for one in cursor]  # noqa: E731
        assert identities(client.test.c.find().hint("down")) == [2, 5, 1, 4, 0, 3]
        assert identities(client.test.c.find().hint([("$natural", -1)])) == [5, 4, 3, 2, 1, 0]
        bounded = client.test.c.find().hint("down").min([("a", 2), ("_id", 5)]).max([("a", 0), ("_id", 3)])
        assert identities(bounded) == [5, 1, 4, 0]
        for wrong in (client.test.c.find().hint("up"), client.test.c.find().hint("down").min([("_id", 5), ("a", 2)])):
            with pytest.raises(OperationFailure):
                list(wrong)

    def test_a_finds_time_limit_is_that_of_all_its_batches(self, client):
        client.test.c.insert_many([{"_id": number} for number in range(4)])
        cursor = client.test.c.find(batch_size=2).max_time_ms(200)
        next(cursor)
        client.admin.command("configureFailPoint", "failCommand", mode={"times": 1},
                             data={"failCommands": ["getMore"], "blockConnection": True, "blockTimeMS": 400})
        with pytest.raises(pymongo.errors.ExecutionTimeout):
            list(cursor)

    def test_the_oplog_can_be_followed(self, client):
        now = client.admin.command("ping")["operationTime"]
        client.test.c.insert_one({"_id": 1})
        cursor = client.local["oplog.rs"].find({"ns": "test.c", "ts": {"$gt": now}}, cursor_type=pymongo.CursorType.TAILABLE_AWAIT)
        cursor.max_await_time_ms(20_000)
        assert next(cursor)["o"] == {"_id": 1}
        threading.Timer(0.1, client.test.c.insert_one, ({"_id": 2},)).start()
        assert next(cursor)["o"] == {"_id": 2}


class Test_change_streams:
    def test_events_in_order_with_tokens_to_resume_by(self, client):
        with client.test.c.watch(max_await_time_ms=500) as stream:
            client.test.c.insert_one({"_id": 1})
            client.test.c.update_one({"_id": 1}, {"$set": {"a": 1}})
            client.test.c.replace_one({"_id": 1}, {"b": 1})
            client.test.c.delete_one({"_id": 1})
            events = [next(stream) for _ in range(4)]
            assert [one["operationType"] for one in events] == ["insert", "update", "replace", "delete"]
            assert events[1]["updateDescription"] == {"updatedFields": {"a": 1}, "removedFields": []}
            assert stream.try_next() is None
        with client.test.c.watch(resume_after=events[1]["_id"]) as stream:
            assert [next(stream)["operationType"] for _ in range(2)] == ["replace", "delete"]

    def test_a_waiting_getMore_wakes_when_something_happens(self, client):
        with client.test.c.watch(max_await_time_ms=20_000) as stream:
            threading.Timer(0.1, client.test.c.insert_one, ({"_id": 1},)).start()
            begun = time.monotonic()
            assert next(stream)["documentKey"] == {"_id": 1}
            assert time.monotonic() - begun < 10

    @pytest.mark.parametrize("fault", ["step_down", "kill"])
    def test_it_resumes_on_the_next_primary(self, model, client, fault):
        with client.test.c.watch(max_await_time_ms=500) as stream:
            client.test.c.insert_one({"_id": 1})
            assert next(stream)["documentKey"] == {"_id": 1}
            old = model.primary()
            model.do(fault)
            client.test.c.insert_one({"_id": 2})
            # PyMongo closes the old cursor first, and looks 30 s for a member that stays away.
            model.do("start", member=old)
            assert next(stream)["documentKey"] == {"_id": 2}

    def test_behind_a_full_batch_the_token_is_that_of_its_last_event(self, client):
        now = client.admin.command("ping")["operationTime"]
        client.test.c.insert_many([{"_id": number} for number in range(3)])

        def batch(begin):
            stage = {"$changeStream": begin}
            return client.test.command("aggregate", "c", pipeline=[stage], cursor={"batchSize": 1})["cursor"]
        first = batch({"startAtOperationTime": Timestamp(now.time, now.inc + 1)})
        assert [one["documentKey"] for one in first["firstBatch"]] == [{"_id": 0}]
        assert first["postBatchResumeToken"] == first["firstBatch"][0]["_id"]
        assert batch({"resumeAfter": first["postBatchResumeToken"]})["firstBatch"][0]["documentKey"] == {"_id": 1}

    @pytest.mark.parametrize("end", ["drop", "rename", "rename to", "dropDatabase"])
    def test_the_end_of_its_collection_ends_a_stream_that_can_start_behind_it(self, client, end):
        client.test.c.insert_one({"_id": 1})
        client.test.other.insert_one({"_id": 1})
        with client.test.c.watch(batch_size=1) as stream:
            {"drop": client.test.c.drop, "rename": lambda: client.test.c.rename("new"), "dropDatabase": lambda: client.drop_database("test"),
             "rename to": lambda: client.test.other.rename("c", dropTarget=True)}[end]()
            events = list(stream)
        assert [one["operationType"] for one in events] == ["rename" if "rename" in end else "drop", "invalidate"]
        with pytest.raises(OperationFailure) as error:
            client.test.c.watch(resume_after=events[1]["_id"])
        assert error.value.code == 260
        client.test.c.insert_one({"_id": 2})
        with client.test.c.watch(start_after=events[1]["_id"]) as stream:
            assert next(stream)["documentKey"] == {"_id": 2}

    def test_a_database_loses_its_collections_before_itself(self, client):
        client.test.a.insert_one({})
        client.test.b.insert_one({})
        with client.test.watch() as stream:
            client.drop_database("test")
            assert [one["operationType"] for one in stream] == ["drop", "drop", "dropDatabase", "invalidate"]

    def test_an_update_is_described_by_the_parts_that_differ(self, newer, model):
        newer.test.c.insert_one({"_id": 1, "a": {"b": 1, "c": 1}, "list": [1, 2, 3], "gone": 1})

        def described(change, **options):
            with newer.test.c.watch(**options) as stream:
                newer.test.c.update_one({"_id": 1}, change)
                return next(stream)["updateDescription"]
        assert described({"$set": {"a.b": 2, "list": [9, 2]}, "$unset": {"gone": 1}}) == {
            "updatedFields": {"a.b": 2, "list.0": 9}, "removedFields": ["gone"], "truncatedArrays": [{"field": "list", "newSize": 2}]}
        assert described({"$set": {"a.1": 2}}, show_expanded_events=True)["disambiguatedPaths"] == {"a.1": ["a", "1"]}
        model.do("set", settings={"wire": 9})
        assert described({"$set": {"list": [9]}}) == {"updatedFields": {"list": [9]}, "removedFields": []}

    def test_a_collection_can_keep_the_documents_before_and_after(self, newer):
        newer.test.create_collection("kept", changeStreamPreAndPostImages={"enabled": True})
        newer.test.kept.insert_one({"_id": 1, "n": 0})
        with newer.test.kept.watch(full_document="required", full_document_before_change="required") as stream:
            newer.test.kept.update_one({"_id": 1}, {"$inc": {"n": 1}})
            newer.test.kept.update_one({"_id": 1}, {"$inc": {"n": 1}})
            newer.test.kept.delete_one({"_id": 1})
            newer.test.command("collMod", "kept", changeStreamPreAndPostImages={"enabled": False})
            events = [next(stream) for _ in range(3)]
        assert [one.get("fullDocument", {}).get("n") for one in events] == [1, 2, None]
        assert [one["fullDocumentBeforeChange"]["n"] for one in events] == [0, 1, 2]
        with newer.test.c.watch(full_document_before_change="required") as stream:
            newer.test.c.insert_one({"_id": 1})
            newer.test.c.delete_one({"_id": 1})
            with pytest.raises(OperationFailure) as error:
                list(zip(range(2), stream))
        assert error.value.code == 47

    def test_a_collection_has_the_same_identity_on_every_member(self, model, client):
        client.test.create_collection("made")
        client.test.c.insert_one({"_id": 1})
        wait_for(model.settled)
        seen = []
        for number in range(3):
            with model.direct(number) as one:
                seen.append({found["name"]: found["info"]["uuid"] for found in one.test.list_collections()})
        assert seen[0].keys() == {"made", "c"} and seen[0] == seen[1] == seen[2]

    def test_an_event_names_the_collection_of_its_time(self, newer):
        newer.test.c.insert_one({"_id": 1})
        identity = next(newer.test.list_collections())["info"]["uuid"]
        with newer.test.watch(show_expanded_events=True) as stream:
            newer.test.c.insert_one({"_id": 2})
            newer.test.c.rename("other")
            newer.test.other.drop()
            newer.test.c.insert_one({"_id": 2})
            events = [next(stream) for _ in range(4)]
        assert [one["operationType"] for one in events] == ["insert", "rename", "drop", "insert"]
        assert [one["collectionUUID"] == identity for one in events] == [True, True, True, False]

    @pytest.mark.parametrize(("code", "labels"), [(234, ["ResumableChangeStreamError"]), (8, None)])
    def test_an_error_of_its_getMore_says_whether_to_resume(self, model, code, labels):
        with model.direct(model.primary()) as one:
            cursor = one.test.command("aggregate", "c", pipeline=[{"$changeStream": {}}], cursor={})["cursor"]
            one.admin.command("configureFailPoint", "failGetMoreAfterCursorCheckout", mode={"times": 1}, data={"errorCode": code})
            ask = lambda: one.test.command("getMore", Int64(cursor["id"]), collection="c", maxTimeMS=1)  # noqa: E731
            with pytest.raises(OperationFailure) as error:
                ask()
            assert (error.value.code, error.value.details.get("errorLabels")) == (code, labels)
            with pytest.raises(OperationFailure) as error:
                ask()
            assert error.value.code == 43
