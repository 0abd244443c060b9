"""Relayed logins (`auth: passthrough`) whose bytes the proxy reads otherwise than the server: nobody becomes another user by them."""

import struct
from contextlib import ExitStack

import bson
import pytest
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient

from support.mongo import ModelSet
from support.mongo_raw import RawClient

ROOT, APP, SHOP = "rootpw-c0ffee", "apppw-deadbeef", "shoppw-facade"
FIRST, BARE = "abcdefgh", "n=app,r=abcdefgh"
REFUSED = {"ok": 0.0, "errmsg": "Authentication failed.", "code": 18, "codeName": "AuthenticationFailed"}


@pytest.fixture
def model():
    with ModelSet("--members", 1, "--user", f"admin:root:{ROOT}:root", "--user", f"admin:app:{APP}", "--user", f"shop:app:{SHOP}:root",
                  "--user", "admin:a=b:apppw-deadbeef:root", "--user", "admin:c=d:shoppw-facade") as one:
        yield one
    assert "Traceback" not in one.problems, one.problems


@pytest.fixture
def proxy(model, start_holdfast):
    one = start_holdfast(model.uri(), connection={"type": "mongodb", "auth": "passthrough"})
    one.secrets |= {ROOT, APP, SHOP}
    return one


@pytest.fixture
def connect(proxy):
    with ExitStack() as stack:
        yield lambda: stack.enter_context(RawClient(proxy.port))


def users(client):
    """Whom the server takes the client for, asked over several connections if there are."""
    return [[(one["db"], one["user"]) for one in client.ask({"connectionStatus": 1, "$db": "admin"})["authInfo"]["authenticatedUsers"]]
            for _ in range(3)]


def joined(*documents):
    """One document of all their fields, also where a key comes twice."""
    content = b"".join(bson.encode(one)[4:-1] for one in documents)
    return RawBSONDocument(struct.pack("<i", len(content) + 5) + content + b"\0")


def start(name):
    return {"saslStart": 1, "mechanism": "SCRAM-SHA-256", "payload": f"n,,n={name},r={FIRST}".encode(), "options": {"skipEmptyExchange": True}}


def payload(name):
    return {"payload": f"n,,n={name},r={FIRST}".encode()}


@pytest.mark.parametrize("more", [payload("app"), payload("root"), {"mechanism": "SCRAM-SHA-1"}, {"saslStart": 1}])
def test_a_login_in_which_a_key_stands_twice_is_none(connect, proxy, more):
    client = connect()
    hello = client.ask({"hello": 1, "speculativeAuthenticate": joined(start("app"), {"db": "admin"}, more), "$db": "admin"})
    assert hello["ok"] == 1 and "speculativeAuthenticate" not in hello
    assert client.ask(joined(start("app"), {"$db": "admin"}, more)) == REFUSED
    proxy.wait_for_log("refused: whom it is for can be read in more ways than one, or in none")
    assert users(client) == [[]] * 3
    assert client.log_in("admin", "app", APP)["ok"] == 1
    assert users(client) == [[("admin", "app")]] * 3


def test_whoever_names_two_databases_is_whom_the_server_has_let_in_or_nobody(connect, proxy):
    """A server reads `db` in a hello's login. shop's app, who has more rights, is not to be had with the password of admin's."""
    victim, client = connect(), connect()
    assert victim.log_in("shop", "app", SHOP)["ok"] == 1
    hello = client.ask({"hello": 1, "speculativeAuthenticate": {**start("app"), "db": "admin", "$db": "shop"}, "$db": "admin"})
    assert client.prove(hello["speculativeAuthenticate"], BARE, APP, "shop") == REFUSED
    proxy.wait_for_log("login of app .* refused: the server does not say by connectionStatus that it has let in shop.app")
    assert users(client) == [[]] * 3
    assert users(victim) == [[("shop", "app")]] * 3


def test_a_name_that_cannot_be_read_is_nobodys(connect):
    one, two = connect(), connect()
    assert one.log_in("admin", "a=b", APP) == REFUSED
    assert two.log_in("admin", "c=d", SHOP) == REFUSED
    assert one.log_in("admin", "a=3Db", APP)["ok"] == 1
    assert two.log_in("admin", "c=3Dd", SHOP)["ok"] == 1
    for _ in range(3):
        assert (users(one), users(two)) == ([[("admin", "a=b")]] * 3, [[("admin", "c=d")]] * 3)


def test_a_proof_that_stands_there_twice_ends_the_login(connect):
    client = connect()
    first = client.ask({**start("app"), "$db": "admin"})
    assert first["ok"] == 1
    answer = client.ask(joined({"saslContinue": 1, "conversationId": 1, "payload": b"c=biws"}, {"payload": b"c=biws", "$db": "admin"}))
    assert answer == REFUSED


def test_a_server_that_does_not_say_whom_it_has_let_in_lets_nobody_in(model, connect):
    with MongoClient(model.uri(), username="root", password=ROOT) as root:
        root.admin.command("configureFailPoint", "failCommand", mode={"times": 1},
                           data={"failCommands": ["connectionStatus"], "errorCode": 59})
    client = connect()
    assert client.log_in("admin", "app", APP) == REFUSED
    assert client.log_in("admin", "app", APP)["ok"] == 1, "over a new connection"
    assert users(client) == [[("admin", "app")]] * 3
