"""Logging in through the proxy with PyMongo and Node on a model set that wants logins: SCRAM ended at the proxy, or relayed."""

import json
import os
import subprocess
import threading
import time
from contextlib import closing, contextmanager

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from support.holdfast import Background
from support.mongo import ModelSet
from support.mongo_drivers import command
from support.mongo_listener import WatchedClient
from support.mongo_raw import RawClient
from support.waiting import wait_for

ROOT, APP, OTHER = "rootpw-c0ffee", "apppw-deadbeef", "otherpw-facade"


@pytest.fixture
def model():
    with ModelSet("--members", 3, "--user", f"admin:root:{ROOT}:root", "--user", f"admin:app:{APP}", "--user", f"admin:other:{OTHER}",
                  "--user", f"shop:keeper:{APP}") as one:
        yield one
    assert "Traceback" not in one.problems, one.problems


@pytest.fixture
def serve(model, start_holdfast):
    """A proxy in front of the set: `serve("root:PASSWORD", auth="scram", …)`; no login in the URI without one."""
    def start(login=None, **connection):
        where = model.uri().replace("mongodb://", f"mongodb://{login}@" if login else "mongodb://")
        proxy = start_holdfast(where, connection={"type": "mongodb", "reconnect": {"hang_timeout": "500ms"}, **connection})
        proxy.secrets |= {ROOT, APP, OTHER}
        return proxy
    return start


@contextmanager
def client_of(proxy, user=None, password=None, **options):
    words = {"username": user, "password": password} if user else {}
    with MongoClient("127.0.0.1", proxy.port, serverSelectionTimeoutMS=10_000, **words, **options) as client:
        yield client


def user_at(client):
    """Whom the server takes the client for."""
    return [one["user"] for one in client.admin.command("connectionStatus")["authInfo"]["authenticatedUsers"]]


def refusal(proxy, *login, **options):
    with client_of(proxy, *login, **options) as client, pytest.raises(OperationFailure) as raised:
        client.test.things.find_one()
    return raised.value.code


def direct(model):
    return MongoClient(model.uri(), username="root", password=ROOT)


def other_primary(model, old):
    wait_for(lambda: model.primary() not in (None, old), what="another primary")


USERS = [{"name": "app", "password_env": "APP_PASSWORD"}, {"name": "other", "password_env": "OTHER_PASSWORD"}]


@pytest.fixture
def configured(serve, monkeypatch):
    """The proxy knows the passwords of root (by the URI), app and other."""
    monkeypatch.setenv("APP_PASSWORD", APP)
    monkeypatch.setenv("OTHER_PASSWORD", OTHER)
    return serve(f"root:{ROOT}", auth="scram", users=USERS)


@pytest.mark.parametrize("mechanism", [None, "SCRAM-SHA-1", "SCRAM-SHA-256"])
def test_a_client_logs_in_with_the_password_that_the_configuration_has(configured, mechanism):
    options = {"authMechanism": mechanism} if mechanism else {}
    for user, password in (("root", ROOT), ("app", APP)):
        with client_of(configured, user, password, **options) as client:
            assert user_at(client) == [user]
            client.test.things.insert_one({})
            assert client.test.things.find_one()


def test_a_login_that_fails_gets_18_whatever_is_wrong_with_it(configured):
    assert refusal(configured, "app", "wrong") == 18
    assert refusal(configured, "nobody", APP) == 18
    assert refusal(configured, "app", APP, authSource="shop") == 18
    assert refusal(configured, "nobody", APP, authMechanism="SCRAM-SHA-1") == 18
    for reason in ("app from .* refused: password authentication failed", r"nobody from .* refused: no user admin\.nobody is known",
                   r"app from .* refused: no user shop\.app is known"):
        configured.wait_for_log(f"login of {reason}")


def test_a_user_whose_name_holds_dots_is_no_other_databases(model, serve, monkeypatch):
    """A database's name holds none, so that admin.team and app are not who is admin and team.app."""
    with direct(model) as root:
        root.admin.command("createUser", "team.app", pwd=APP, roles=[])
    monkeypatch.setenv("APP_PASSWORD", APP)
    proxy = serve(f"root:{ROOT}", auth="scram", users=[{"name": "team.app", "password_env": "APP_PASSWORD"}])
    with RawClient(proxy.port) as stranger:
        answer = stranger.log_in("admin.team", "app", APP)
        assert answer.get("code") == 18, answer
    with client_of(proxy, "team.app", APP) as client:
        assert user_at(client) == ["team.app"]


@pytest.mark.parametrize("own_verifier", [True, False])
@pytest.mark.parametrize("pool", ["shared", "session"])
@pytest.mark.parametrize("auth", ["scram", "passthrough"])
def test_whoever_logs_in_anew_on_its_connection_is_nobody_else(model, serve, monkeypatch, auth, pool, own_verifier):
    monkeypatch.setenv("APP_PASSWORD", APP)
    monkeypatch.setenv("OTHER_PASSWORD", OTHER)
    model.do("set", settings={"own_verifier": own_verifier})
    proxy = serve(**({"login": f"root:{ROOT}", "auth": "scram", "users": USERS} if auth == "scram" else {"auth": "passthrough"}), pool=pool)

    def users(client):
        return [one["user"] for one in client.ask({"connectionStatus": 1, "$db": "admin"})["authInfo"]["authenticatedUsers"]]

    def reads(client):
        return client.ask({"find": "things", "$db": "test"}).get("code", 0)

    with RawClient(proxy.port) as one, RawClient(proxy.port) as two:
        for name, password, more in (("app", APP, "other"), ("other", OTHER, "app"), ("app", APP, "other")):
            assert one.log_in("admin", name, password)["ok"] == 1
            assert two.log_in("admin", more, {"app": APP, "other": OTHER}[more])["ok"] == 1
            assert (users(one), users(two), reads(one)) == ([name], [more], 0)
        assert one.log_in("admin", "other", "wrong").get("code") == 18
        assert reads(one) == 13, "neither whom it was before"
        assert users(two) == ["other"]
        assert one.log_in("admin", "app", APP)["ok"] == 1
        assert one.ask({"logout": 1, "$db": "admin"})["ok"] == 1
        assert reads(one) == 13
        assert one.log_in("admin", "other", OTHER)["ok"] == 1
        assert users(one) == ["other"]


def test_a_login_with_an_old_password_that_fails_takes_no_newer_one_along(model, serve):
    """One session logs in upstream with what it has; meanwhile another of the same user has come with the new password."""
    proxy = serve(auth="passthrough")
    with RawClient(proxy.port) as old, RawClient(proxy.port) as new, direct(model) as root:
        assert old.log_in("admin", "app", APP)["ok"] == 1
        root.admin.command("updateUser", "app", pwd="newpw-abad1dea")
        primary = model.primary()
        model.do("drop_connections", member=primary)
        proxy.wait_for_log("connection lost to main")
        proxy.wait_for_state("connected")
        with direct(model) as other:  # none of the connections that were dropped
            other.admin.command("configureFailPoint", "failCommand", mode={"times": 1},
                                data={"failCommands": ["saslStart"], "blockConnection": True, "blockTimeMS": 6000})
        old.send({"find": "things", "$db": "test"})
        wait_for(lambda: "saslStart" in model.state(primary)["operations"], what="its login under way")
        assert new.log_in("admin", "app", "newpw-abad1dea")["ok"] == 1
        assert old.answer()["ok"] == 1, "its user has a newer password by now"
        for _ in range(2):
            model.do("drop_connections", member=primary)
            assert new.ask({"find": "things", "$db": "test"})["ok"] == 1


@pytest.mark.parametrize("first,seconds", [({"hello": 1, "saslSupportedMechs": "admin.app"}, 4),
                                           ({"saslStart": 1, "mechanism": "SCRAM-SHA-256", "payload": b"n,,n=app,r=abcdefgh"}, 9)])
def test_whoever_does_not_go_on_with_its_login_keeps_no_connection_from_others(serve, first, seconds):
    proxy = serve(auth="passthrough", pool_max=1)
    with RawClient(proxy.port) as silent, RawClient(proxy.port) as client:
        assert silent.ask({**first, "$db": "admin"})["ok"] == 1
        begun = time.monotonic()
        assert client.log_in("admin", "app", APP)["ok"] == 1
        assert time.monotonic() - begun < seconds


def test_a_client_that_has_not_logged_in_may_ask_who_is_there_and_nothing_else(configured):
    assert refusal(configured) == 13
    with client_of(configured) as client:
        assert client.admin.command("ping")["ok"] == 1
        said = client.admin.command("hello", saslSupportedMechs="admin.app")
        assert sorted(said["saslSupportedMechs"]) == ["SCRAM-SHA-1", "SCRAM-SHA-256"]
        assert "saslSupportedMechs" not in client.admin.command("hello", saslSupportedMechs="admin.nobody")


def test_every_user_has_connections_of_its_own_however_few_there_may_be(serve, monkeypatch):
    monkeypatch.setenv("APP_PASSWORD", APP)
    monkeypatch.setenv("OTHER_PASSWORD", OTHER)
    proxy = serve(f"root:{ROOT}", auth="scram", users=USERS, pool_max=2)
    with client_of(proxy, "app", APP) as app, client_of(proxy, "other", OTHER) as other, client_of(proxy, "root", ROOT) as root:
        for _ in range(5):
            assert [user_at(app), user_at(other), user_at(root)] == [["app"], ["other"], ["root"]]


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1", "SCRAM-SHA-256"])
def test_a_verifier_is_enough_to_check_a_client_and_its_proof_to_log_in_upstream(model, serve, mechanism):
    with direct(model) as client:
        kept = client.admin.command("usersInfo", "app", showCredentials=True)["users"][0]["credentials"][mechanism]
    verifier = f"{mechanism}${kept['iterationCount']}:{kept['salt']}${kept['storedKey']}:{kept['serverKey']}"
    proxy = serve(f"root:{ROOT}", auth="scram", users=[{"name": "app", "scram": verifier}])
    proxy.secrets |= {kept["storedKey"], kept["serverKey"]}
    assert refusal(proxy, "app", "wrong") == 18
    with closing(WatchedClient(proxy.port, username="app", password=APP)) as watched:
        watched.collection.insert_one({"_id": 1})
        old = model.primary()
        model.do("kill", how="rst")
        watched.collection.insert_one({"_id": 2})
        other_primary(model, old)
        assert user_at(watched.client) == ["app"]
        watched.saw_nothing()


def test_a_service_account_reads_the_verifiers_of_users_that_the_configuration_does_not_know(model, serve, monkeypatch):
    monkeypatch.setenv("ROOT_PASSWORD", ROOT)
    proxy = serve(auth="scram", auth_query={"user": "root", "password_env": "ROOT_PASSWORD"})
    for mechanism in ("SCRAM-SHA-1", "SCRAM-SHA-256", "DEFAULT"):
        with client_of(proxy, "app", APP, authMechanism=mechanism) as client:
            assert user_at(client) == ["app"]
    with client_of(proxy, "keeper", APP, authSource="shop") as client:
        assert user_at(client) == ["keeper"]
    assert refusal(proxy, "app", "wrong") == 18
    assert refusal(proxy, "nobody", APP) == 18
    with direct(model) as client:
        client.admin.command("updateUser", "app", pwd="newpw-abad1dea")
    assert refusal(proxy, "app", APP) == 18
    with client_of(proxy, "app", "newpw-abad1dea") as client:
        assert user_at(client) == ["app"]


def test_a_relayed_login_yields_what_later_logins_need(model, serve):
    proxy = serve(auth="passthrough")
    assert refusal(proxy) == 13
    assert refusal(proxy, "app", "wrong") == 18
    for mechanism in ("SCRAM-SHA-1", "SCRAM-SHA-256", "DEFAULT"):
        with client_of(proxy, "app", APP, authMechanism=mechanism) as client:
            assert user_at(client) == ["app"]
    with closing(WatchedClient(proxy.port, username="other", password=OTHER)) as watched:
        for number in range(3):
            watched.collection.insert_one({"_id": number})
            old = model.primary()
            model.do("kill", how="rst")
            other_primary(model, old)
            model.do("start", member=old)
        assert watched.collection.count_documents({}) == 3
        assert user_at(watched.client) == ["other"]
        watched.saw_nothing()
    assert "no connection for" not in proxy.log()


def test_a_read_elsewhere_whose_login_no_member_takes_any_more_is_told_at_once(model, serve):
    proxy = serve(auth="passthrough")
    with client_of(proxy, "app", APP, readPreference="secondary") as client, direct(model) as root:
        assert client.test.things.find_one() is None
        root.admin.command("updateUser", "app", pwd="newpw-abad1dea")
        for member in range(3):
            model.do("drop_connections", member=member)
        begun = time.monotonic()
        with pytest.raises(OperationFailure) as error:
            client.test.things.find_one()
        assert error.value.code == 18, "its driver was asked to log in again, and has the old password"
        assert time.monotonic() - begun < 8


def test_a_user_that_may_not_read_its_verifier_is_asked_by_its_driver_again_and_notices_nothing(model, serve):
    model.do("set", settings={"own_verifier": False})
    proxy = serve(auth="passthrough")
    with client_of(proxy, "app", APP, w="majority") as client:
        for number in range(3):
            client.test.things.insert_one({"_id": number})
            old = model.primary()
            model.do("kill", how="rst")
            other_primary(model, old)
            model.do("start", member=old)
        assert client.test.things.count_documents({}) == 3
        assert user_at(client) == ["app"]
    assert "no connection for admin.app: the client has to log in again" in proxy.log()


@pytest.mark.parametrize("driver,version,knows", [("PyMongo|c", "4.4.0", True), ("PyMongo|c", "4.3.3", False),
                                                  ("nodejs|mongoose", "6.0.0|8.0.0", True), ("nodejs|mongoose", "4.11.0|6.5.2", False)])
def test_a_driver_that_does_not_know_how_to_log_in_again_is_not_asked_to(model, serve, driver, version, knows):
    proxy = serve(auth="passthrough")
    with RawClient(proxy.port) as client, direct(model) as root:
        named = {"driver": {"name": driver, "version": version}, "os": {"type": "Linux"}}
        assert client.ask({"hello": 1, "client": named, "$db": "admin"})["ok"] == 1
        assert client.log_in("admin", "app", APP)["ok"] == 1
        root.admin.command("updateUser", "app", pwd="newpw-abad1dea")
        model.do("drop_connections", member=model.primary())
        client.send({"find": "things", "$db": "test"})
        if knows:
            assert client.answer()["code"] == 391
            assert client.log_in("admin", "app", "newpw-abad1dea")["ok"] == 1
            assert client.ask({"find": "things", "$db": "test"})["ok"] == 1
        else:
            assert client.socket.recv(1) == b"", "its driver makes a new connection, and logs in there"


@pytest.mark.parametrize("auth", ["scram", "passthrough"])
def test_a_hello_that_asks_how_to_log_in_is_refused_where_nobody_can_be_asked(model, serve, monkeypatch, auth):
    """Without the mechanisms a driver takes SCRAM-SHA-1, which this user does not have, and tells its application that the password is wrong."""
    monkeypatch.setenv("ROOT_PASSWORD", ROOT)
    with direct(model) as root:
        root.admin.command("createUser", "new", pwd=APP, roles=[], mechanisms=["SCRAM-SHA-256"])
    query = {"auth_query": {"user": "root", "password_env": "ROOT_PASSWORD"}} if auth == "scram" else {}
    proxy = serve(auth=auth, reconnect={"hold_timeout": "500ms"}, **query)
    question = {"hello": 1, "saslSupportedMechs": "admin.new", "$db": "admin"}
    named = {"driver": {"name": "PyMongo", "version": "4.20.1"}, "os": {"type": "Linux"}}
    for member in range(3):
        model.do("kill", member=member)
    with RawClient(proxy.port) as client:
        answer = client.ask({**question, "client": named})
        assert answer["ok"] == 0 and answer["code"] == 6 and "saslSupportedMechs" not in answer, answer
        assert client.ask({"hello": 1, "$db": "admin"})["ok"] == 1, "this needs nobody"
        for member in range(3):
            model.do("start", member=member)
        proxy.wait_for_state("connected")
        assert client.ask({**question, "client": named})["saslSupportedMechs"] == ["SCRAM-SHA-256"]
        assert "saslSupportedMechs" not in client.ask({**question, "saslSupportedMechs": "admin.nobody"}), "no such user"


@pytest.mark.parametrize("auth", ["scram", "passthrough"])
def test_a_client_that_logs_in_while_there_is_no_primary_is_held_and_then_let_in(model, serve, monkeypatch, auth):
    monkeypatch.setenv("APP_PASSWORD", APP)
    proxy = serve(**({"login": f"root:{ROOT}", "auth": "scram", "users": USERS[:1]} if auth == "scram" else {"auth": "passthrough"}))
    model.do("kill", how="rst")
    with client_of(proxy, "app", APP) as client:
        client.test.things.insert_one({"_id": 1})
        assert user_at(client) == ["app"]


def test_the_proxy_itself_logs_in_with_the_older_mechanism_where_the_user_has_no_other(model, serve):
    with direct(model) as client:
        client.admin.command("createUser", "old", pwd="oldpw-cafe", roles=["root"], mechanisms=["SCRAM-SHA-1"])
    with client_of(serve("old:oldpw-cafe", auth="trust")) as client:
        assert user_at(client) == ["old"]


def test_a_login_of_the_proxy_that_the_server_refuses_is_shown(serve, start_holdfast, model):
    where = model.uri().replace("mongodb://", "mongodb://root:wrongpw-bad@")
    proxy = start_holdfast(where, connection={"type": "mongodb", "auth": "trust"}, ready=False)
    proxy.secrets.add("wrongpw-bad")
    wait_for(lambda: "Authentication failed" in (proxy.state()["lastError"] or ""), what="the refusal in lastError")


@pytest.mark.parametrize("auth", ["scram", "passthrough"])
def test_node_logs_in_and_lives_through_the_death_of_its_primary(model, serve, monkeypatch, auth):
    program, environment = command("node")
    monkeypatch.setenv("APP_PASSWORD", APP)
    proxy = serve(**({"login": f"root:{ROOT}", "auth": "scram", "users": USERS[:1]} if auth == "scram" else {"auth": "passthrough"}))
    one = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                           env={**os.environ, **environment, "URI": f"mongodb://app:{APP}@127.0.0.1:{proxy.port}/?authSource=admin"})
    try:
        assert one.stdout.readline() == "ready\n"
        for _ in range(2):
            old = model.primary()
            model.do("kill", how="rst")
            other_primary(model, old)
            model.do("start", member=old)
        said, problems = one.communicate(timeout=30)
    finally:
        one.kill()
    report = json.loads(said.splitlines()[-1])
    assert report["errors"] == {} and report["acknowledged"] > 0 and report["moved"] > 0, (report, problems)
    assert proxy.metric("holdfast_client_disconnections_total", reason="login") == 0


def test_a_user_gets_its_turn_beside_one_who_keeps_the_pool_busy(serve, model, monkeypatch):
    monkeypatch.setenv("APP_PASSWORD", APP)
    monkeypatch.setenv("OTHER_PASSWORD", OTHER)
    proxy = serve(f"root:{ROOT}", auth="scram", users=USERS, pool_max=1, reconnect={"hold_timeout": "5s"})
    with client_of(proxy, "app", APP) as busy, client_of(proxy, "other", OTHER) as other:
        assert other.test.things.find_one() is None
        model.do("delay", ms=5, commands=["find"], when="before")
        done = threading.Event()

        def read():
            count = 0
            while not done.is_set():
                busy.test.things.find_one()
                count += 1
            return count
        readers = [Background(read) for _ in range(4)]
        wait_for(lambda: proxy.state()["sessions"]["waiting"] >= 2, what="readers that wait for each other")
        for _ in range(5):
            assert other.test.things.find_one() is None, "133 after hold_timeout without its turn"
        done.set()
        assert sum(reader.result() for reader in readers) > 10
