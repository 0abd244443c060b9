"""What the API says of a MongoDB upstream: which kinds execute a repeated write once, and that only those are sent one."""

import json
from contextlib import closing

import pytest
from pymongo.errors import OperationFailure

from support.holdfast import Background
from support.mongo import ModelSet
from support.mongo_listener import WatchedClient
from support.waiting import wait_for


PASSWORD = "rootpw-c0ffee"


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


@pytest.mark.parametrize("product, shown_as, reason", [
    ("FerretDB", "FerretDB", "FerretDB is not known to know writes again"),
    ("quiet", None, "nothing that it says shows that it is a MongoDB"),
])
def test_what_only_looks_like_a_replica_set_of_mongodb_is_not_sent_a_write_twice(start_holdfast, product, shown_as, reason):
    with ModelSet("--members", 3) as model:
        model.do("set", settings={"product": product})
        proxy = start_holdfast(model.uri(), connection={"type": "mongodb"})
        wait_for(lambda: [one["reason"] for one in capabilities(proxy)["members"]] == [reason] * 3, what="what all members are")
        shown = capabilities(proxy)
        assert not shown["deduplicates"]
        assert shown["members"][0]["product"] == shown_as
        with closing(WatchedClient(proxy.port)) as watched:
            watched.collection.insert_one({"_id": 1, "n": 0})
            model.do("cut_after", bytes=0, commands=["update"])
            with pytest.raises(OperationFailure, match="unknown") as error:
                watched.collection.update_one({"_id": 1}, {"$inc": {"n": 1}})
            assert error.value.code == 6
            assert watched.collection.find_one({"_id": 1})["n"] == 1
    assert "Traceback" not in model.problems, model.problems


def test_one_that_was_a_mongodb_and_is_something_else_by_now_is_not_sent_what_the_other_one_has_executed(start_holdfast):
    with ModelSet("--members", 1) as model:
        proxy = start_holdfast(model.uri(), connection={"type": "mongodb"})
        assert capabilities(proxy)["deduplicates"]
        with closing(WatchedClient(proxy.port)) as watched, closing(model.direct(0)) as direct:
            watched.collection.insert_one({"_id": 1, "n": 0})
            model.do("delay", member=0, ms=60_000, commands=["update"], when="after")
            write = Background(watched.collection.update_one, {"_id": 1}, {"$inc": {"n": 1}})
            wait_for(lambda: direct.test.things.find_one()["n"] == 1, what="a write that was executed")
            model.do("set", settings={"product": "quiet"})
            model.do("kill", member=0)
            model.do("delay", member=0, ms=0, commands=["update"])
            model.do("start", member=0)
            error = write.error(OperationFailure)
            assert error.code == 6 and "outcome unknown" in str(error)
            assert model.state(0)["commands"].get("update", 0) <= 1
            assert watched.collection.find_one() == {"_id": 1, "n": 1}
            assert not capabilities(proxy)["deduplicates"]
    assert "Traceback" not in model.problems, model.problems


@pytest.mark.parametrize("mode", ["requiresAuth", "versionOnlyIfPreAuth"])
@pytest.mark.parametrize("auth", ["scram", "passthrough"])
def test_one_that_tells_users_only_what_it_is_is_asked_by_one(start_holdfast, mode, auth):
    """buildInfoAuthMode of MongoDB 8.1 and later. Relayed logins are the only ones that there are with `passthrough`."""
    with ModelSet("--members", 3, "--wire", 27, "--user", f"admin:root:{PASSWORD}:root") as model:
        model.do("set", settings={"build_info_auth": mode})
        login = f"mongodb://root:{PASSWORD}@" if auth == "scram" else "mongodb://"
        proxy = start_holdfast(model.uri().replace("mongodb://", login), connection={"type": "mongodb", "auth": auth})
        proxy.secrets.add(PASSWORD)
        hidden = "it does not say what it is to those who have not logged in"
        with closing(WatchedClient(proxy.port, username="root", password=PASSWORD)) as watched:
            watched.collection.insert_one({"_id": 1, "n": 0})
            wait_for(lambda: capabilities(proxy)["deduplicates"], what="a member that is known")
            wait_for(lambda: len(capabilities(proxy)["members"]) == 3, what="all members")
            if auth == "passthrough":
                wait_for(lambda: sorted(one["reason"] or "" for one in capabilities(proxy)["members"]) == ["", hidden, hidden], what="why not all are known")
            else:
                wait_for(lambda: [one["product"] for one in capabilities(proxy)["members"]] == ["MongoDB"] * 3, what="what all members are")
            primary = model.primary()
            model.do("delay", member=primary, ms=60_000, commands=["update"], when="after")
            write = Background(watched.collection.update_one, {"_id": 1}, {"$inc": {"n": 1}})
            wait_for(lambda: model.state(primary)["commands"].get("update"), what="a write under way")
            model.do("kill", member=primary)
            model.do("delay", member=primary, ms=0, commands=["update"])
            write.result()
            assert watched.collection.find_one() == {"_id": 1, "n": 1}
            watched.saw_nothing()
    assert "Traceback" not in model.problems, model.problems
