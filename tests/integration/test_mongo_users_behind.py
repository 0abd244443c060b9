"""Secondaries that have not heard yet of a user, or of its new password: what they refuse is good at the primary, and stays in use."""

from contextlib import ExitStack

import pytest

from support.mongo import ModelSet
from support.mongo_raw import RawClient
from support.waiting import wait_for

ROOT, APP = "rootpw-c0ffee", "apppw-deadbeef"


@pytest.fixture
def model():
    with ModelSet("--members", 3, "--user", f"admin:root:{ROOT}:root", "--user", f"admin:app:{APP}") as one:
        yield one
    assert "Traceback" not in one.problems, one.problems


@pytest.fixture(params=["passthrough", "auth_query"])
def clients(request, model, start_holdfast, monkeypatch):
    """Three that are logged in as the same user, of which the proxy has keys, and no password."""
    monkeypatch.setenv("ROOT_PASSWORD", ROOT)
    service = {"auth": "scram", "auth_query": {"user": "root", "password_env": "ROOT_PASSWORD"}}
    proxy = start_holdfast(model.uri(), connection={"type": "mongodb", **({"auth": "passthrough"} if request.param == "passthrough" else service)})
    proxy.secrets |= {ROOT, APP}
    wait_for(lambda: len(proxy.state()["capabilities"]["members"]) == 3, what="all members")
    with ExitStack() as stack:
        found = [stack.enter_context(RawClient(proxy.port)) for _ in range(3)]
        for one in found:
            assert one.log_in("admin", "app", APP)["ok"] == 1
        yield found


def read(client, mode):
    return client.ask({"find": "things", "$readPreference": {"mode": mode}, "$db": "test"})


def write(client):
    return client.ask({"insert": "things", "documents": [{}], "$db": "test"})


def lose_connections(model):
    for member in range(3):
        model.do("drop_connections", member=member)


@pytest.mark.parametrize("behind", ["none", "other"])
def test_a_read_goes_to_a_member_that_knows_the_user_and_nobody_is_disconnected(model, clients, behind):
    model.do("set", settings={"users_behind": behind})
    assert read(clients[0], "secondaryPreferred")["ok"] == 1
    lose_connections(model)
    for one in clients:
        assert write(one)["ok"] == 1
        assert read(one, "nearest")["ok"] == 1
    model.do("set", settings={"users_behind": None})
    for one in clients:
        assert read(one, "secondary")["ok"] == 1


@pytest.mark.parametrize("behind", ["none", "other"])
def test_a_read_that_only_members_that_do_not_know_the_user_may_serve_costs_nobody_else_anything(model, clients, behind):
    model.do("set", settings={"users_behind": behind})
    clients[0].send({"find": "things", "$readPreference": {"mode": "secondary"}, "$db": "test"})
    assert clients[0].socket.recv(1) == b"", "its driver cannot be asked to log in again"
    lose_connections(model)
    for one in clients[1:]:
        assert write(one)["ok"] == 1
    model.do("set", settings={"users_behind": None})
    for one in clients[1:]:
        assert read(one, "secondary")["ok"] == 1
