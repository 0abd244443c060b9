"""What the API says of a MongoDB upstream: which kinds execute a repeated write once, and that only those are sent one."""

import json
from contextlib import closing

import pytest
from pymongo.errors import OperationFailure

from support.mongo import ModelSet
from support.mongo_listener import WatchedClient
from support.waiting import wait_for


def capabilities(proxy):
    """Those of the connection, once all that it has are known."""
    wait_for(lambda: proxy.state()["capabilities"]["kind"] is not None, what="the kind of the upstream")
    shown = proxy.state()["capabilities"]
    assert json.loads(proxy.admin("/api/v1/connections")[1])[0]["capabilities"] == shown
    return shown


@pytest.mark.parametrize("arguments, kind, count, reason", [
    (["--members", 3, "--wire", 21], "replica_set", 3, None),
    (["--members", 3, "--mongos", 2, "--wire", 21], "sharded", 2, None),
    (["--standalone", "--wire", 21], "standalone", 1, "a standalone server does not know writes again"),
])
def test_each_kind_is_shown_with_its_versions_and_its_reason(start_holdfast, arguments, kind, count, reason):
    with ModelSet(*arguments) as model:
        uri = f"mongodb://{','.join(model.mongos)}/" if model.mongos else model.uri()
        proxy = start_holdfast(uri, connection={"type": "mongodb"})
        wait_for(lambda: len(capabilities(proxy)["members"]) == count, what="all members")
        wait_for(lambda: all(one["version"] for one in capabilities(proxy)["members"]), what="all versions")
        shown = capabilities(proxy)
        assert (shown["kind"], shown["deduplicates"]) == (kind, reason is None)
        for member in shown["members"]:
            assert member["product"] == "MongoDB" and member["version"] == "7.0.16"
            assert (member["minWireVersion"], member["maxWireVersion"]) == (0, 21)
            assert (member["deduplicates"], member["reason"]) == (reason is None, reason)
    assert "Traceback" not in model.problems, model.problems


def test_what_only_looks_like_a_replica_set_of_mongodb_is_not_sent_a_write_twice(start_holdfast):
    with ModelSet("--members", 3) as model:
        model.do("set", settings={"product": "FerretDB"})
        proxy = start_holdfast(model.uri(), connection={"type": "mongodb"})
        wait_for(lambda: [one["product"] for one in capabilities(proxy)["members"]] == ["FerretDB"] * 3, what="what all members are")
        shown = capabilities(proxy)
        assert not shown["deduplicates"]
        assert shown["members"][0]["reason"] == "FerretDB is not known to know writes again"
        with closing(WatchedClient(proxy.port)) as watched:
            watched.collection.insert_one({"_id": 1, "n": 0})
            model.do("cut_after", bytes=0, commands=["update"])
            with pytest.raises(OperationFailure, match="unknown") as error:
                watched.collection.update_one({"_id": 1}, {"$inc": {"n": 1}})
            assert error.value.code == 6
            assert watched.collection.find_one({"_id": 1})["n"] == 1
    assert "Traceback" not in model.problems, model.problems
