"""Logging in through the proxy with PyMongo and Node on a model set that wants logins: SCRAM ended at the proxy, or relayed."""

import json
import os
import shutil
import subprocess
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from support.mongo import ModelSet
from support.mongo_listener import WatchedClient
from support.waiting import wait_for

ROOT, APP, OTHER = "rootpw-c0ffee", "apppw-deadbeef", "otherpw-facade"
SURVIVOR = Path(__file__).parent / "drivers" / "mongo_node" / "survivor.js"


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
    node = shutil.which("node")
    modules = Path(os.environ.get("HOLDFAST_CACHE", "build/cache")) / "drivers" / "mongo_node" / "node_modules"
    if not node or not modules.exists():
        pytest.skip("Node's driver is not installed")
    monkeypatch.setenv("APP_PASSWORD", APP)
    proxy = serve(**({"login": f"root:{ROOT}", "auth": "scram", "users": USERS[:1]} if auth == "scram" else {"auth": "passthrough"}))
    one = subprocess.Popen([node, str(SURVIVOR)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                           env={**os.environ, "NODE_PATH": str(modules), "URI": f"mongodb://app:{APP}@127.0.0.1:{proxy.port}/?authSource=admin"})
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
