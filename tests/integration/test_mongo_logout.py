"""Servers that end the login of connections in use, because its user was dropped and made anew: nobody may notice."""

from contextlib import closing

import pytest
from pymongo import MongoClient

from support.mongo import ModelSet
from support.mongo_listener import WatchedClient
from support.mongo_raw import RawClient
from support.waiting import wait_for

ROOT, APP = "rootpw-c0ffee", "apppw-deadbeef"


@pytest.fixture
def model():
    with ModelSet("--members", 3, "--user", f"admin:root:{ROOT}:root", "--user", f"admin:app:{APP}:root") as one:
        yield one
    assert "Traceback" not in one.problems, one.problems


@pytest.fixture
def serve(model, start_holdfast, monkeypatch):
    """A proxy in front of the set, whose clients are `app`, by this kind of login."""
    monkeypatch.setenv("APP_PASSWORD", APP)

    def start(auth, **connection):
        login = {"trust": f"app:{APP}@", "scram": f"root:{ROOT}@", "passthrough": ""}[auth]
        users = {"users": [{"name": "app", "password_env": "APP_PASSWORD"}]} if auth == "scram" else {}
        proxy = start_holdfast(model.uri().replace("mongodb://", f"mongodb://{login}"),
                               connection={"type": "mongodb", "auth": auth, **users, **connection})
        proxy.secrets |= {ROOT, APP}
        return proxy
    return start


def login_of(auth):
    return {} if auth == "trust" else {"username": "app", "password": APP}


def make_anew(model, user="app", password=APP):
    """The members log out what this user has."""
    with MongoClient(model.uri(), username="root", password=ROOT) as root:
        root.admin.command("dropUser", user)
        root.admin.command("createUser", user, pwd=password, roles=["root"])


@pytest.mark.parametrize("pool", ["shared", "session"])
@pytest.mark.parametrize("auth", ["trust", "scram", "passthrough"])
def test_nobody_notices_that_its_user_was_made_anew(model, serve, auth, pool):
    proxy = serve(auth, pool=pool)
    with closing(WatchedClient(proxy.port, **login_of(auth))) as watched, closing(WatchedClient(proxy.port, **login_of(auth))) as other:
        watched.collection.insert_many([{"_id": number} for number in range(10)])
        other.collection.insert_one({"_id": 10})
        make_anew(model)
        assert watched.collection.find_one({"_id": 1}) == {"_id": 1}
        assert other.collection.update_one({"_id": 1}, {"$set": {"n": 1}}).modified_count == 1
        make_anew(model)
        watched.client.test.command("create", "more")
        assert other.collection.count_documents({}) == 11
        # Of a relayed login holdfast has a key that fits the old salt: the driver is asked, and the program is not.
        for one in (watched, other):
            one.noticed.trouble = [line for line in one.noticed.trouble if auth != "passthrough" or "'code': 391" not in line]
            one.saw_nothing()
    assert "connection lost" not in proxy.log(), "nothing is wrong with the member"


def test_a_connection_that_was_logged_out_is_closed_and_its_room_is_given_to_the_next(model, serve):
    proxy = serve("trust", pool_max=1)
    with closing(WatchedClient(proxy.port)) as watched:
        for number in range(3):
            watched.collection.insert_one({"_id": number})
            make_anew(model)
        assert watched.collection.count_documents({}) == 3
        watched.saw_nothing()


def test_a_cursor_and_a_transaction_go_on_where_their_connection_was_logged_out(model, serve):
    proxy = serve("trust")
    with closing(WatchedClient(proxy.port)) as watched:
        watched.collection.insert_many([{"_id": number} for number in range(30)])
        cursor = watched.collection.find({}, batch_size=10)
        assert next(cursor)["_id"] == 0
        with watched.client.start_session() as session, session.start_transaction():
            watched.collection.insert_one({"_id": 30}, session=session)
            make_anew(model)
            watched.collection.insert_one({"_id": 31}, session=session)
            make_anew(model)
        make_anew(model)
        assert len(list(cursor)) == 29
        assert watched.collection.count_documents({}) == 32
        make_anew(model)
        killed = watched.client.admin.command("killAllSessions", [])
        assert killed["ok"] == 1
        watched.saw_nothing()


def test_what_a_load_balanced_client_left_is_ended_where_its_connection_was_logged_out(model, serve):
    proxy = serve("scram")
    with RawClient(proxy.port) as client:
        assert client.ask({"hello": 1, "loadBalanced": True, "$db": "admin"})["ok"] == 1
        assert client.log_in("admin", "app", APP)["ok"] == 1
        client.ask({"insert": "things", "documents": [{"_id": number} for number in range(30)], "$db": "test"})
        assert client.ask({"find": "things", "batchSize": 1, "$db": "test"})["cursor"]["id"]
        make_anew(model)
    wait_for(lambda: model.state(model.primary())["cursors"] == 0, what="the cursor's end")


def test_a_service_account_that_was_logged_out_is_logged_in_again(model, start_holdfast, monkeypatch):
    monkeypatch.setenv("APP_PASSWORD", APP)
    proxy = start_holdfast(model.uri(), connection={"type": "mongodb", "auth": "scram",
                                                    "auth_query": {"user": "app", "password_env": "APP_PASSWORD"}})
    proxy.secrets |= {ROOT, APP}
    for user in ("one", "two"):
        with MongoClient(model.uri(), username="root", password=ROOT) as root:
            root.admin.command("createUser", user, pwd=APP, roles=["root"])
        with MongoClient("127.0.0.1", proxy.port, username=user, password=APP) as client:
            assert client.test.things.find_one() is None
        make_anew(model)


def test_who_has_too_few_rights_is_told_so_over_the_connection_that_it_has(model, serve):
    with MongoClient(model.uri(), username="root", password=ROOT) as root:
        root.admin.command("createUser", "guest", pwd=APP, roles=[])
    proxy = serve("passthrough")
    with RawClient(proxy.port) as guest:
        assert guest.log_in("admin", "guest", APP)["ok"] == 1
        assert guest.ask({"find": "things", "$db": "test"})["ok"] == 1
        before = model.state(model.primary())["connections"]
        for _ in range(5):
            answer = guest.ask({"usersInfo": "app", "$db": "admin"})
            assert answer["code"] == 13 and "not authorized" in answer["errmsg"]
        assert model.state(model.primary())["connections"] == before
    assert "logged out" not in proxy.log()
