"""PyMongo straight on the model replica set: it must behave as the servers that the MongoDB tests need, faults included."""

import functools
import os
import threading
import time
import types

import pymongo
import pytest
from bson import Int64
from pymongo import MongoClient, monitoring
from pymongo.errors import AutoReconnect, BulkWriteError, DuplicateKeyError, NotPrimaryError, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from support.mongo import ModelSet
from support.mongo_model.cluster import Cluster
from support.mongo_model.member import Member
from support.waiting import wait_for

pytestmark = pytest.mark.fault_free
MAJORITY = WriteConcern("majority")


@pytest.fixture
def model(module_model):
    """A set of three with a primary, whatever the test before did to it, and an empty database."""
    module_model.restore()
    client = MongoClient(module_model.uri())
    client.drop_database("test")
    client.close()
    return module_model


@pytest.fixture
def client(model):
    with MongoClient(model.uri()) as one:
        yield one


def test_it_is_ready_in_under_a_second():
    with ModelSet("--members", 3) as fresh:
        # The processor's time, so that it says the same on a busy machine.
        with open(f"/proc/{fresh.process.pid}/stat", encoding="utf-8") as stat:
            fields = stat.read().rpartition(")")[2].split()
        assert (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") < 1.0
        with MongoClient(fresh.uri()) as client:
            assert client.admin.command("ping")["ok"] == 1.0


class Test_crud:
    def test_documents_come_back_as_they_were_written(self, client):
        documents = [{"_id": number, "text": "ä" * number, "list": [number, {"a": 1}], "none": None} for number in range(250)]
        client.test.c.insert_many(documents)
        assert list(client.test.c.find(sort=[("_id", 1)], batch_size=40)) == documents
        assert client.test.c.count_documents({"_id": {"$gte": 100, "$lt": 110}}) == 10
        assert client.test.c.distinct("list.a") == [1]

    def test_filters_and_sorts(self, client):
        client.test.c.insert_many([{"_id": 1, "a": 5, "l": [1, 2]}, {"_id": 2, "a": "x", "l": []}, {"_id": 3, "l": [{"b": 2, "c": 3}]}])

        def ids(query, **more):
            return [one["_id"] for one in client.test.c.find(query, **more)]
        assert ids({"a": {"$gt": 4}}) == [1]
        assert ids({"a": {"$exists": False}}) == [3]
        assert ids({"a": None}) == [3]
        assert ids({"l": 2}) == [1]
        assert ids({"l": {"$size": 0}}) == [2]
        assert ids({"l": {"$elemMatch": {"b": 2, "c": {"$gt": 2}}}}) == [3]
        assert ids({"$or": [{"a": "x"}, {"l.b": 2}]}) == [2, 3]
        assert ids({"a": {"$not": {"$gt": 4}}}) == [2, 3]
        assert ids({}, sort=[("a", -1)]) == [2, 1, 3]
        assert ids({"a": {"$in": [5, "x"]}}, skip=1, limit=1) == [2]

    def test_updates_and_their_answers(self, client):
        collection = client.test.c
        assert collection.update_one({"_id": 1}, {"$set": {"x": 1}}, upsert=True).upserted_id == 1
        result = collection.update_one({"_id": 1}, {"$inc": {"x": 2}, "$push": {"l": {"$each": [3, 1], "$sort": 1}}})
        assert (result.matched_count, result.modified_count) == (1, 1)
        assert collection.update_one({"_id": 1}, {"$set": {"x": 3}}).modified_count == 0
        assert collection.find_one({"_id": 1}) == {"_id": 1, "x": 3, "l": [1, 3]}
        collection.insert_many([{"_id": number} for number in (2, 3)])
        assert collection.update_many({}, {"$set": {"m": True}}).modified_count == 3
        assert collection.replace_one({"_id": 2}, {"y": 1}).modified_count == 1
        assert collection.find_one_and_update({"_id": 2}, {"$inc": {"y": 1}}, return_document=True) == {"_id": 2, "y": 2}
        assert collection.find_one_and_delete({"_id": 3}) == {"_id": 3, "m": True}
        assert collection.delete_many({}).deleted_count == 2

    def test_duplicates_are_refused_by_any_unique_index(self, client):
        client.test.c.create_index("email", unique=True)
        client.test.c.insert_one({"_id": 1, "email": "a"})
        with pytest.raises(DuplicateKeyError):
            client.test.c.insert_one({"_id": 1})
        with pytest.raises(DuplicateKeyError):
            client.test.c.insert_one({"_id": 2, "email": "a"})
        with pytest.raises(BulkWriteError) as error:
            client.test.c.insert_many([{"_id": 5, "email": "b"}, {"_id": 6, "email": "a"}, {"_id": 7, "email": "c"}], ordered=False)
        assert error.value.details["nInserted"] == 2

    def test_aggregation(self, client):
        client.test.c.insert_many([{"_id": number, "kind": number % 2, "value": number} for number in range(6)])
        found = client.test.c.aggregate([{"$match": {"_id": {"$gt": 0}}}, {"$group": {"_id": "$kind", "sum": {"$sum": "$value"},
                                                                                    "all": {"$push": "$_id"}}},
                                         {"$sort": {"_id": 1}}, {"$project": {"sum": 1, "all": 1, "twice": {"$multiply": ["$sum", 2]}}}])
        assert list(found) == [{"_id": 0, "sum": 6, "all": [2, 4], "twice": 12}, {"_id": 1, "sum": 9, "all": [1, 3, 5], "twice": 18}]
        assert list(client.test.c.aggregate([{"$count": "n"}])) == [{"n": 6}]

    def test_a_secondary_serves_reads_only_to_who_asks(self, model, client):
        client.test.get_collection("c", write_concern=WriteConcern(3)).insert_one({"_id": 1})
        secondary = next(number for number in range(3) if number != model.primary())
        with model.direct(secondary) as one:
            assert one.test.c.find_one() == {"_id": 1}
            with pytest.raises(NotPrimaryError):
                one.test.c.insert_one({})

    def test_a_filter_that_nests_deep_is_answered_at_once(self, client):
        nested = 1
        for _ in range(90):
            nested = {"a": nested}
        client.test.c.insert_one({"_id": 1, "a": nested})
        with pymongo.timeout(5):
            assert client.test.c.find_one({"a": nested})["_id"] == 1


class Test_retryable_writes:
    def test_a_write_goes_on_after_a_stepdown(self, model, client):
        client.test.c.insert_one({"_id": 1, "n": 0})
        old = model.primary()
        model.do("step_down")
        client.test.c.update_one({"_id": 1}, {"$inc": {"n": 1}})
        assert client.test.c.find_one()["n"] == 1
        assert model.primary() != old

    def test_a_write_goes_on_after_a_kill(self, model, client):
        client.test.c.insert_one({"_id": 1, "n": 0})
        model.do("kill")
        client.test.c.update_one({"_id": 1}, {"$inc": {"n": 1}})
        assert client.test.c.find_one()["n"] == 1

    def test_a_write_whose_reply_was_lost_counts_once(self, model, client):
        client.test.c.insert_one({"_id": 1, "n": 0})
        for number in range(3):
            model.do("cut_after", bytes=20, commands=["update"])
            client.test.c.update_one({"_id": 1}, {"$inc": {"n": 1}, "$push": {"ids": number}})
        assert client.test.c.find_one() == {"_id": 1, "n": 3, "ids": [0, 1, 2]}

    def test_the_next_primary_knows_what_the_killed_one_executed(self, model, client):
        """Executed and replicated, the reply never sent: the same number on the new primary answers from history."""
        client.test.c.insert_one({"_id": 1, "n": 0})
        model.do("delay", ms=10_000, when="after", commands=["update"])
        worker = threading.Thread(target=client.test.c.update_one, args=({"_id": 1}, {"$inc": {"n": 1}}))
        worker.start()
        wait_for(lambda: any("update" in entry["command"] for entry in model.do("history")["entries"][-1:]), what="the update executed")
        model.do("kill")
        worker.join(10)
        assert not worker.is_alive()
        assert client.test.c.find_one()["n"] == 1

    def test_without_a_number_the_lost_write_is_an_error(self, model):
        with MongoClient(model.uri(retryWrites="false")) as client:
            client.test.c.insert_one({"_id": 1, "n": 0})
            model.do("cut_after", bytes=20, commands=["update"])
            with pytest.raises(AutoReconnect):
                client.test.c.update_one({"_id": 1}, {"$inc": {"n": 1}})
            assert client.test.c.find_one()["n"] == 1

    def test_an_answer_can_be_wrong_about_what_was_executed(self, model):
        with MongoClient(model.uri(retryWrites="false")) as client:
            client.test.c.insert_one({"_id": 1, "n": 0})
            model.do("answer_instead", commands=["update"], form="writeErrors", code=11602)
            with pytest.raises(PyMongoError):
                client.test.c.update_one({"_id": 1}, {"$inc": {"n": 1}})
            assert client.test.c.find_one()["n"] == 1

    def test_a_repetition_beside_the_first_execution_waits_for_it(self, client):
        """A server has one operation a session at a time, however many connections ask."""
        names = list(range(5000))
        answers = []
        with client.start_session() as session:
            asking = [threading.Thread(target=lambda: answers.append(numbered_insert(session, 11, names))) for _ in range(2)]
            for one in asking:
                one.start()
            for one in asking:
                one.join(20)
        assert answers == [(5000, [], None)] * 2
        assert client.test.c.count_documents({}) == 5000

    def test_before_5_0_an_insert_from_history_leaves_errors_out_or_in_wrong_places(self, client):
        """What a 4.4 does: it counts what it knows at once, and inserts the rest where the last document is new."""
        client.test.c.insert_one({"_id": "there"})
        with client.start_session() as session:
            insert = functools.partial(numbered_insert, session)
            assert insert(11, ["a", "b", "a", "c"]) == (3, [2], None)
            assert insert(11, ["a", "b", "a", "c"]) == (3, [], None)
            assert insert(11, ["a"], [2]) == (0, [0], None), "asked by itself it says what it is"
            assert insert(12, ["there", "d", "there"]) == (1, [0, 2], None)
            assert insert(12, ["there", "d", "there"]) == (1, [1, 2], None)

    def test_before_5_0_what_fits_nowhere_has_no_number(self, client):
        with client.start_session() as session:
            assert numbered_insert(session, 11, [["no", "array"], "a", "b"]) == (2, [0], None)
            assert numbered_insert(session, 11, ["a"], [1]) == (1, [], None), "the number of b"
            assert numbered_insert(session, 11, ["b"], [2]) == (0, [0], None)

    def test_from_5_0_on_an_answer_from_history_is_that_of_the_first_time(self):
        with ModelSet("--members", 1, "--wire", 21) as newer, MongoClient(newer.uri()) as client, client.start_session() as session:
            assert numbered_insert(session, 11, ["a", ["no", "array"], "a", "c"]) == (2, [1, 2], None)
            assert numbered_insert(session, 11, ["a", ["no", "array"], "a", "c"]) == (2, [1, 2], [0, 3])


def numbered_insert(session, number, names, numbers=None):
    """(n, the places of the errors, retriedStmtIds) of an unordered insert under this txnNumber."""
    command = {"insert": "c", "documents": [{"_id": name} for name in names], "ordered": False, "txnNumber": Int64(number)}
    reply = session.client.test.command(command, **({"stmtIds": numbers} if numbers else {}), session=session)
    return reply["n"], [error["index"] for error in reply.get("writeErrors", [])], reply.get("retriedStmtIds")


class Test_transactions:
    def test_a_transaction_is_seen_whole_or_not_at_all(self, client):
        client.test.c.insert_one({"_id": 1, "n": 0})
        with client.start_session() as session:
            session.start_transaction()
            client.test.c.update_one({"_id": 1}, {"$inc": {"n": 1}}, session=session)
            client.test.c.insert_one({"_id": 2}, session=session)
            assert client.test.c.find_one({"_id": 1}, session=session)["n"] == 1
            assert client.test.c.find_one({"_id": 1})["n"] == 0
            session.commit_transaction()
            session.commit_transaction()
            assert client.test.c.find_one({"_id": 1})["n"] == 1
            session.start_transaction()
            client.test.c.delete_many({}, session=session)
            session.abort_transaction()
        assert client.test.c.count_documents({}) == 2

    def test_the_second_writer_gets_a_write_conflict(self, client):
        client.test.c.insert_one({"_id": 1, "n": 0})
        with client.start_session() as one, client.start_session() as other:
            one.start_transaction()
            other.start_transaction()
            client.test.c.update_one({"_id": 1}, {"$inc": {"n": 1}}, session=one)
            with pytest.raises(OperationFailure) as error:
                client.test.c.update_one({"_id": 1}, {"$inc": {"n": 1}}, session=other)
            assert error.value.code == 112 and error.value.has_error_label("TransientTransactionError")
            one.commit_transaction()

    @pytest.mark.parametrize("fault", ["step_down", "kill"])
    def test_a_lost_transaction_says_that_it_may_run_again(self, model, client, fault):
        with client.start_session() as session:
            session.start_transaction()
            client.test.c.insert_one({"_id": 1}, session=session)
            model.do(fault)
            with pytest.raises(PyMongoError) as error:
                client.test.c.insert_one({"_id": 2}, session=session)
            assert error.value.has_error_label("TransientTransactionError")
        assert client.test.c.count_documents({}) == 0

    def test_on_the_new_primary_it_is_unknown(self, model, client):
        with client.start_session() as session:
            session.start_transaction()
            client.test.c.insert_one({"_id": 1}, session=session)
            model.do("step_down")
            wait_for(lambda: model.primary() is not None)
            with model.direct(model.primary()) as one:
                with pytest.raises(OperationFailure) as error:
                    one.admin.command("commitTransaction", lsid=session.session_id, txnNumber=Int64(1), autocommit=False)
            assert error.value.code == 251 and error.value.has_error_label("TransientTransactionError")

    def test_a_commit_whose_reply_was_lost_is_asked_again(self, model, client):
        client.test.c.insert_one({"_id": 0})
        with client.start_session() as session:
            session.start_transaction()
            client.test.c.insert_one({"_id": 1}, session=session)
            model.do("cut_after", bytes=20, commands=["commitTransaction"])
            session.commit_transaction()
        assert client.test.c.count_documents({}) == 2

    def test_with_transaction_survives_stepdowns(self, model, client):
        client.test.c.insert_many([{"_id": "a", "n": 100}, {"_id": "b", "n": 0}])

        def move(session):
            client.test.c.update_one({"_id": "a"}, {"$inc": {"n": -1}}, session=session)
            client.test.c.update_one({"_id": "b"}, {"$inc": {"n": 1}}, session=session)
        with client.start_session() as session:
            for number in range(20):
                if number % 7 == 3:
                    model.do("step_down", seconds=0.1, catch_up=0.1)
                session.with_transaction(move, write_concern=MAJORITY)
        assert {one["_id"]: one["n"] for one in client.test.c.find()} == {"a": 80, "b": 20}


class Listener(monitoring.ServerListener, monitoring.TopologyListener):
    """Keeps what the driver learned."""

    def __init__(self):
        self.primaries = []

    def opened(self, event):
        pass

    def closed(self, event):
        pass

    def description_changed(self, event):
        description = getattr(event, "new_description", None)
        for server in description.server_descriptions().values() if hasattr(description, "server_descriptions") else []:
            if server.server_type_name == "RSPrimary" and server.address not in self.primaries[-1:]:
                self.primaries.append(server.address)


class Test_topology:
    def test_a_driver_sees_an_election(self, model):
        listener = Listener()
        with MongoClient(model.uri(), event_listeners=[listener]) as client:
            client.admin.command("ping")
            model.do("step_down")
            wait_for(lambda: len(listener.primaries) >= 2, what="the driver's second primary")
            primary = model.primary()
            assert listener.primaries[-1] == tuple([model.members[primary].split(":")[0], int(model.members[primary].split(":")[1])])

    def test_each_election_has_a_higher_term_and_electionId(self, model):
        seen = []
        for _ in range(3):
            with model.direct(model.primary()) as one:
                seen.append(one.admin.command("hello")["electionId"])
            model.do("step_down", seconds=0.1, catch_up=0.1)
            wait_for(model.settled)
        assert seen == sorted(set(seen)) and len(seen) == 3

    def test_a_killed_member_comes_back_as_another_process_with_its_data(self, model, client):
        client.test.get_collection("c", write_concern=MAJORITY).insert_one({"_id": 1})
        number = model.primary()
        before = model.state(number)["processId"]
        model.do("kill", member=number)
        with pytest.raises(PyMongoError):
            model.direct(number, serverSelectionTimeoutMS=200).admin.command("ping")
        model.do("start", member=number)
        wait_for(model.settled)
        assert model.state(number)["processId"] != before
        with model.direct(number) as one:
            assert one.test.c.find_one() == {"_id": 1}

    def test_a_clean_stop_hands_over(self, model, client):
        number = model.primary()
        model.do("stop", member=number)
        assert not model.state(number)["running"]
        client.test.c.insert_one({"_id": 1})
        assert model.primary() not in (None, number)


class Test_majority_and_rollback:
    def test_a_majority_write_waits_for_the_others(self, model, client):
        model.do("hold_replication")
        limited = client.test.get_collection("c", write_concern=WriteConcern("majority", wtimeout=100))
        with pytest.raises(PyMongoError) as error:
            limited.insert_one({"_id": 1})
        assert error.value.code == 64
        model.do("heal")
        client.test.get_collection("c", write_concern=MAJORITY).insert_one({"_id": 2})

    def test_a_partitioned_primary_acknowledges_and_loses(self, model, client):
        client.test.get_collection("c", write_concern=MAJORITY).insert_one({"_id": 0})
        old = model.primary()
        with model.direct(old) as one:
            one.admin.command("ping")  # once it is cut off it has half a second until it steps down
            model.do("partition", member=old)
            one.test.c.insert_one({"_id": "lost"})
            with pytest.raises(PyMongoError):
                one.test.get_collection("c", write_concern=WriteConcern("majority", wtimeout=50)).insert_one({"_id": "lost too"})
        wait_for(lambda: model.primary() not in (None, old), what="another primary")
        model.do("heal")
        wait_for(model.settled)
        assert [one["_id"] for one in client.test.c.find()] == [0]
        totals = model.do("history")["totals"]
        assert totals["acknowledged_and_rolled_back"] >= 1 and totals["majority_and_rolled_back"] == 0

    def test_what_a_majority_has_is_never_taken_for_a_replaced_primarys_own_entries(self):
        """A change stream on it would tell of entries that are about to be rolled back, and resume behind others."""
        def member(index, log):
            one = types.SimpleNamespace(index=index, log=log, acked={}, commit_length=1, progress=types.SimpleNamespace(fire=lambda: None))
            one.common_length = functools.partial(Member.common_length, one)
            return one
        shared, newer, divergent = object(), object(), object()
        primary, follower, old = member(0, [shared, newer]), member(1, [shared, newer]), member(2, [shared, divergent])
        primary.acked[1] = 2
        members = [primary, follower, old]
        cluster = types.SimpleNamespace(voters=members, data_members=lambda: members, majority=2, reach=lambda one, other: True)
        Cluster._advance(cluster, primary)
        assert [one.commit_length for one in members] == [2, 2, 1]

    def test_a_frozen_primary_wakes_and_acknowledges_what_it_will_roll_back(self, model, client):
        client.test.get_collection("c", write_concern=MAJORITY).insert_one({"_id": 0})
        old = model.primary()
        with model.direct(old) as one:
            one.admin.command("ping")
            model.do("freeze", member=old)
            outcome = []
            worker = threading.Thread(target=lambda: outcome.append(one.test.c.insert_one({"_id": "stale"}).acknowledged))
            worker.start()
            wait_for(lambda: model.primary() not in (None, old), what="another primary")
            client.test.get_collection("c", write_concern=MAJORITY).insert_one({"_id": 1})
            model.do("thaw", member=old)
            worker.join(10)
        assert outcome == [True]
        wait_for(model.settled)
        assert sorted(one["_id"] for one in client.test.c.find()) == [0, 1]

    def test_a_majority_read_does_not_see_what_may_be_rolled_back(self, model, client):
        model.do("hold_replication")
        client.test.c.insert_one({"_id": 1})
        assert client.test.c.find_one() == {"_id": 1}
        assert client.test.get_collection("c", read_concern=ReadConcern("majority")).find_one() is None


class Test_history:
    @pytest.fixture(scope="class")
    def module_model(self):
        """A set of its own: on one that all the tests above have used, majority writes can take over a second each."""
        with ModelSet("--members", 3) as model:
            yield model
        assert not model.problems, model.problems

    def test_a_thawed_primary_that_hears_of_its_successor_by_a_write_is_none_any_more(self, model, client):
        """A write that the new primary hands over may reach it before any heartbeat does."""
        old = model.primary()
        model.do("freeze", member=old)
        wait_for(lambda: model.primary() not in (None, old), what="another primary")
        model.do("set", settings={"heartbeat": 1.0})
        try:
            model.do("thaw", member=old, silent=0)
            client.test.get_collection("c", write_concern=MAJORITY).insert_one({"_id": "handed over"})
            assert model.state(None)["members"][old]["role"] == "secondary"
        finally:
            model.do("set", settings={"heartbeat": 0.05})
        assert model.settled()

    def test_majority_writes_survive_every_fault_exactly_once(self, model, client):
        """Four writers under kills, stepdowns, freezes and partitions: what was acknowledged is there once, and the history agrees."""
        client.test.get_collection("c", write_concern=MAJORITY).insert_many([{"_id": number, "ids": []} for number in range(4)])
        since = model.do("history")["entries"][-1]["op"]
        acknowledged, stop = [[] for _ in range(4)], threading.Event()
        impatient = MongoClient(model.uri(socketTimeoutMS=1000, connectTimeoutMS=500, heartbeatFrequencyMS=500))

        def write(number):
            collection = impatient.test.get_collection("c", write_concern=MAJORITY)
            for identity in range(100_000):
                if stop.is_set():
                    return
                try:
                    collection.update_one({"_id": number}, {"$push": {"ids": identity}})
                    acknowledged[number].append(identity)
                except PyMongoError:
                    pass  # Unknown: it may be there or not.
        writers = [threading.Thread(target=write, args=(number,), daemon=True) for number in range(4)]
        for one in writers:
            one.start()
        for fault, cure in (("step_down", None), ("kill", "start"), ("freeze", "thaw"), ("partition", "heal")):
            before = sum(map(len, acknowledged))
            old = model.primary()
            model.do(fault, member=old)
            try:
                wait_for(lambda: sum(map(len, acknowledged)) > before + 20, what=f"writes after {fault}", deadline=30)
            except AssertionError:
                stop.set()
                print(model.state(None), model.do("history")["entries"][-8:])
                raise
            if cure:
                model.do(cure, member=old)
            wait_for(model.settled, what=f"a whole set after {cure}")
        stop.set()
        [one.join(30) for one in writers]
        impatient.close()
        for number in range(4):
            stored = client.test.c.find_one({"_id": number})["ids"]
            assert len(stored) == len(set(stored)) and set(acknowledged[number]) <= set(stored), "doubled or lost"
        entries = [one for one in model.do("history", since=since)["entries"] if one["command"] == "update"]
        assert not [one for one in entries if one["acknowledged"] == "majority" and (one["rolled_back"] or one["lost"])]
        assert sum(one["acknowledged"] == "majority" for one in entries) >= sum(map(len, acknowledged))


class Test_fail_points:
    def fail(self, client, data, times=1):
        client.admin.command("configureFailPoint", "failCommand", mode={"times": times}, data=data)

    def test_labels_come_from_the_code(self, client):
        for code, label in ((10107, True), (11602, True), (50, False)):
            self.fail(client, {"failCommands": ["insert"], "errorCode": code}, times=2)
            with pytest.raises(PyMongoError) as error:
                client.test.c.insert_one({})
            client.admin.command("configureFailPoint", "failCommand", mode="off")
            assert error.value.has_error_label("RetryableWriteError") == label, code

    def test_a_connection_closed_once_is_retried(self, client):
        self.fail(client, {"failCommands": ["find", "insert"], "closeConnection": True})
        client.test.c.insert_one({"_id": 1})
        self.fail(client, {"failCommands": ["find"], "closeConnection": True})
        assert client.test.c.find_one() == {"_id": 1}

    def test_a_blocked_command_ends_at_its_time_limit(self, client):
        self.fail(client, {"failCommands": ["find"], "blockConnection": True, "blockTimeMS": 5000})
        begun = time.monotonic()
        with pytest.raises(pymongo.errors.ExecutionTimeout):
            list(client.test.c.find(max_time_ms=100))
        assert time.monotonic() - begun < 3
