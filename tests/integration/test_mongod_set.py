"""MongodSet, which runs real mongods, on a stand-in for that program: it starts, strikes and undoes what the tests of the rows order."""

import pathlib
import sys
import threading
import time

import pytest
from bson import Int64
from pymongo import MongoClient
from pymongo.errors import AutoReconnect, NotPrimaryError, PyMongoError, ServerSelectionTimeoutError, WTimeoutError
from pymongo.write_concern import WriteConcern

from support import mongod_set
from support.holdfast import Background
from support.mongod_set import MongodSet
from support.waiting import wait_for

STAND_IN = [sys.executable, str(pathlib.Path(mongod_set.__file__).parent / "mongod_model.py")]


@pytest.fixture(scope="module")
def module_set():
    with MongodSet(words=STAND_IN, members=3) as one:
        yield one
    assert not one.problems, one.problems


@pytest.fixture
def mongods(module_set):
    module_set.restore()
    with MongoClient(module_set.uri()) as client:
        client.drop_database("test")
        client.test.things.insert_one({"_id": 1, "n": 0})
    return module_set


@pytest.fixture
def things(mongods):
    """The primary's, without a retry by the driver."""
    with mongods.direct(mongods.primary(), retryWrites=False, retryReads=False, serverSelectionTimeoutMS=2000) as client:
        yield client.test.things


def n_of(mongods):
    with MongoClient(mongods.uri()) as client:
        return client.test.things.find_one({"_id": 1})["n"]


def successor(mongods, old):
    return mongods.wait_for(lambda: mongods.primary() not in (None, old), what="a successor")


def test_it_is_a_set_under_the_addresses_of_its_relays(mongods):
    assert mongods.whole() and mongods.settled()
    with MongoClient(mongods.uri()) as client:
        wait_for(lambda: len(client.nodes) == 3, what="all members")
        assert client.nodes == {(host, int(port)) for host, port in (one.split(":") for one in mongods.members)}
        hello = client.admin.command("hello")
    assert hello["setName"] == mongods.name and hello["me"] in mongods.members
    assert mongods.ready["wire"] == hello["maxWireVersion"] and mongods.ready["version"]


@pytest.mark.parametrize("how", ["rst", "fin"])
def test_a_killed_primary_has_a_successor_and_comes_back_with_its_data(mongods, things, how):
    old = mongods.primary()
    process = mongods.state(old)["processId"]
    mongods.do("kill", how=how)
    with pytest.raises(AutoReconnect):
        things.find_one()
    assert mongods.state(old)["role"] == "down" and not mongods.state(old)["running"]
    successor(mongods, old)
    mongods.do("start", member=old)
    mongods.wait_for(mongods.settled, what="three members")
    assert mongods.state(old)["processId"] != process
    with mongods.direct(old) as client:
        assert client.test.things.find_one()["n"] == 0


def test_all_of_them_killed_come_back_with_their_data(mongods):
    for member in range(3):
        mongods.do("kill", member=member)
    assert mongods.primary() is None
    mongods.restore()
    assert n_of(mongods) == 0


def test_a_stopped_one_is_gone_when_that_is_said(mongods):
    old = mongods.primary()
    mongods.do("stop")
    assert not mongods.state(old)["running"]
    successor(mongods, old)


def test_a_frozen_one_accepts_and_answers_nothing(mongods, things):
    old = mongods.primary()
    mongods.do("freeze")
    assert mongods.primary() is None and mongods.state(old)["role"] == "primary"
    read = Background(things.find_one)
    successor(mongods, old)
    assert not read.is_done
    mongods.do("thaw", member=old, silent=0)
    assert read.result()["n"] == 0
    mongods.wait_for(mongods.settled, what="three members")


def test_it_steps_down_and_is_elected(mongods):
    old = mongods.primary()
    mongods.do("step_down")
    successor(mongods, old)
    third = 3 - old - mongods.primary()
    mongods.do("elect", member=third)
    assert mongods.primary() == third
    assert mongods.do("step_down", member="primary", seconds=1.0)["ok"]
    answer = mongods.ask("step_down", member=third)
    assert not answer["ok"] and "10107" in answer["error"], "a secondary cannot"


@pytest.mark.parametrize("clients", [False, True])
def test_a_partition_parts_a_member_from_the_others_and_from_clients_only_where_told(mongods, things, clients):
    old = mongods.primary()
    mongods.do("partition", clients=clients)
    read = Background(things.find_one)
    if clients:
        successor(mongods, old)
        assert not read.is_done
    else:
        assert read.result()["n"] == 0
        successor(mongods, old)
    mongods.do("heal")
    assert read.result()["n"] == 0
    mongods.wait_for(mongods.settled, what="one primary that all follow")


@pytest.mark.parametrize("when,executed", [("before", 0), ("after", 1)])
def test_a_delay_is_before_or_behind_the_execution(mongods, things, when, executed):
    mongods.do("delay", ms=20_000, commands=["update"], when=when)
    write = Background(lambda: things.update_one({"_id": 1}, {"$inc": {"n": 1}}))
    if when == "after":
        wait_for(lambda: mongods.has_executed("update"), what="its answer at the relay")
    else:
        wait_for(lambda: "update" in mongods.state(mongods.primary())["operations"], what="the command at the relay")
    assert things.find_one()["n"] == executed, "another command is not delayed"
    old = mongods.primary()
    mongods.do("kill")
    write.error(AutoReconnect)
    successor(mongods, old)
    assert n_of(mongods) == executed


def test_a_delay_ends(mongods, things):
    mongods.do("delay", ms=1500, commands=["find"])
    begun = time.monotonic()
    things.find_one()
    assert time.monotonic() - begun > 1.4
    mongods.do("delay", ms=0, commands=["find"])
    begun = time.monotonic()
    things.find_one()
    assert time.monotonic() - begun < 1.4


UPDATE = {"update": "things", "updates": [{"q": {"_id": 1}, "u": {"$inc": {"n": 1}}}]}


@pytest.mark.parametrize("form", ["top", "writeErrors", "writeConcernError", "close"])
@pytest.mark.parametrize("numbered", [False, True])
def test_another_answer_than_that_of_what_was_executed(mongods, things, form, numbered):
    mongods.do("answer_instead", commands=["update"], times=1, form=form, code=11602)
    database = things.database
    with database.client.start_session() as session:
        number = {"txnNumber": Int64(1)} if numbered else {}
        if form == "close":
            with pytest.raises(AutoReconnect):
                database.command({**UPDATE, **number}, session=session)
        else:
            reply = database.command({**UPDATE, **number}, session=session, check=False)
            assert ("RetryableWriteError" in reply.get("errorLabels", [])) == (numbered and form != "writeErrors")
            error = {"top": reply, "writeErrors": reply.get("writeErrors", [{}])[0], "writeConcernError": reply.get("writeConcernError")}[form]
            assert (error["code"], error["codeName"]) == (11602, "InterruptedDueToReplStateChange")
            assert reply["ok"] == (0 if form == "top" else 1) and "$clusterTime" in reply
    assert things.find_one()["n"] == 1
    assert things.update_one({"_id": 1}, {"$inc": {"n": 1}}).modified_count == 1, "once"


def test_a_reply_is_cut_in_its_midst_once(mongods, things):
    things.insert_one({"_id": 2, "text": "x" * 2000})
    mongods.do("cut_after", bytes=900, commands=["find"])
    with pytest.raises(AutoReconnect):
        things.find_one({"_id": 2})
    assert len(things.find_one({"_id": 2})["text"]) == 2000


def test_dropped_connections_are_the_networks(mongods, things):
    process = mongods.state(mongods.primary())["processId"]
    mongods.do("delay", ms=20_000, commands=["find"], when="after")
    read = Background(things.find_one)
    wait_for(lambda: mongods.has_executed("find"), what="the read under way")
    mongods.do("drop_connections", how="rst")
    read.error(AutoReconnect)
    mongods.do("delay", ms=0, commands=["find"])
    assert things.find_one()["n"] == 0
    assert mongods.state(mongods.primary())["processId"] == process


def test_held_replication_keeps_a_majority_waiting_until_it_is_healed(mongods, things):
    mongods.do("hold_replication")
    with pytest.raises(WTimeoutError):
        things.with_options(write_concern=WriteConcern("majority", wtimeout=300)).insert_one({"_id": "held"})
    mongods.do("heal")
    things.with_options(write_concern=WriteConcern("majority", wtimeout=5000)).insert_one({"_id": "free"})


def test_a_member_in_maintenance_serves_no_reads(mongods):
    member = (mongods.primary() + 1) % 3
    mongods.do("role", member=member, role="recovering")
    with mongods.direct(member, retryReads=False) as client, pytest.raises(NotPrimaryError, match="13436"):
        client.test.things.find_one()
    mongods.do("role", member=member, role="secondary")
    with mongods.direct(member) as client:
        assert client.test.things.find_one()["n"] == 0


def test_who_leaves_has_what_it_sent_executed(mongods, things):
    mongods.do("delay", ms=200, commands=["insert"])
    with mongods.direct(mongods.primary()) as client:
        unacknowledged = client.test.get_collection("things", write_concern=WriteConcern(0))
        unacknowledged.insert_one({"_id": "left"})
    wait_for(lambda: things.find_one({"_id": "left"}), what="its write")


@pytest.mark.parametrize("order", ["history", "truncate_history", "set"])
def test_what_a_server_cannot_do_skips_its_test(mongods, order):
    with pytest.raises(pytest.skip.Exception, match=order):
        mongods.do(order)


def test_many_connections_at_once_lose_nothing(mongods):
    with MongoClient(mongods.uri(), w="majority") as client:
        def write(writer):
            for number in range(20):
                client.test.things.insert_one({"_id": f"{writer}-{number}", "text": "x" * 10_000})
        writers = [threading.Thread(target=write, args=(number,)) for number in range(20)]
        for one in writers:
            one.start()
        for one in writers:
            one.join()
        assert client.test.things.count_documents({"text": {"$exists": True}}) == 400


def test_one_member_alone_comes_back_after_a_loss():
    with MongodSet(words=STAND_IN, members=1) as alone, MongoClient(alone.uri(), serverSelectionTimeoutMS=20_000) as client:
        client.test.things.insert_one({"_id": 1, "n": 0})
        for loss in ("kill", "step_down", "stop"):
            alone.lose(loss)
            assert client.test.things.find_one_and_update({"_id": 1}, {"$inc": {"n": 1}}) is not None
        assert client.test.things.find_one()["n"] == 3
    assert not alone.problems


@pytest.mark.parametrize("script,words", [("print('the disk is full'); raise SystemExit(14)", "ended with 14:\nthe disk is full"),
                                          ("raise SystemExit(0)", "ended with 0")])
def test_a_program_that_does_not_start_is_shown_with_its_last_words(script, words):
    with pytest.raises(AssertionError, match=words):
        MongodSet(words=[sys.executable, "-c", script], members=2)


def test_one_that_ends_by_itself_is_a_problem():
    with MongodSet(words=STAND_IN, members=1) as alone:
        with pytest.raises((PyMongoError, ServerSelectionTimeoutError)), alone.direct(0, serverSelectionTimeoutMS=1000) as client:
            client.admin.command("shutdown", force=True)
        wait_for(lambda: not alone.state(0)["running"], what="its end")
    assert "ended by itself" in alone.problems
