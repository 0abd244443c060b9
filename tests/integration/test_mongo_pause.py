"""A pause holds what begins: a transaction that is open goes on to its end, and the maintenance that the pause was for finds none."""

import pytest
from pymongo import MongoClient

from support.holdfast import Background
from support.mongo import ModelSet
from support.waiting import wait_for


@pytest.fixture
def model():
    with ModelSet("--members", 3) as one:
        yield one


@pytest.mark.parametrize("end", ["commit", "abort"])
def test_an_open_transaction_ends_while_paused_and_what_begins_waits(model, start_holdfast, end):
    proxy = start_holdfast(model.uri(), connection={"type": "mongodb", "reconnect": {"hold_timeout": "20s"}})
    with MongoClient("127.0.0.1", proxy.port) as client:
        things = client.test.things
        things.insert_one({"_id": "before"})
        with client.start_session() as session:
            session.start_transaction()
            things.insert_one({"_id": 1}, session=session)
            assert proxy.admin("/api/v1/connections/main/pause", {})[0] == 200
            held = Background(things.insert_one, {"_id": 2})
            wait_for(lambda: proxy.state()["sessions"]["waiting"] == 1, what="a write that is held")
            things.insert_one({"_id": 3}, session=session)
            session.commit_transaction() if end == "commit" else session.abort_transaction()
        assert not held.is_done
        model.do("step_down")
        wait_for(lambda: model.primary() is not None, what="another primary")
        assert proxy.admin("/api/v1/connections/main/resume", {})[0] == 200
        held.result()
        expected = ["before", 1, 2, 3] if end == "commit" else ["before", 2]
        assert sorted(map(str, (one["_id"] for one in things.find()))) == sorted(map(str, expected))
