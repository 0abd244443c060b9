"""Reloads that change who the proxy logs in as, or whom the configuration knows: never one user with another's password."""

import pytest
from pymongo import MongoClient

from support.mongo import ModelSet
from support.mongo_raw import RawClient
from support.waiting import wait_for

ROTA, ROTB, APP, NEW = "rotapw-c0ffee", "rotbpw-facade", "apppw-deadbeef", "newpw-abad1dea"


@pytest.fixture
def model():
    with ModelSet("--members", 1, "--user", f"admin:rota:{ROTA}:root", "--user", f"admin:rotb:{ROTB}:root", "--user", f"admin:app:{APP}",
                  "--user", f"admin:late:{APP}") as one:
        yield one
    assert "Traceback" not in one.problems, one.problems


@pytest.fixture
def serve(model, start_holdfast):
    def start(user, password, **connection):
        proxy = start_holdfast(uri_of(model, user, password), connection={"type": "mongodb", **connection})
        proxy.secrets |= {ROTA, ROTB, APP, NEW}
        return proxy
    return start


def uri_of(model, user, password):
    return model.uri().replace("mongodb://", f"mongodb://{user}:{password}@")


def logged_again(proxy, text, action):
    """Once the log has the text once more than before."""
    count = proxy.log().count(text)
    action()
    wait_for(lambda: proxy.log().count(text) > count, what=f"{text!r} in the log")


def reload(proxy, **connection):
    """Returns what the log says of it."""
    before = len(proxy.log())
    proxy.connection_config.update(connection)
    proxy.write_config()
    logged_again(proxy, "configuration reloaded", proxy.reload)
    return proxy.log()[before:]


def lose_connections(model, proxy):
    logged_again(proxy, "connection lost to main", lambda: model.do("drop_connections", member=0))
    proxy.wait_for_state("connected")


def change_password(model, user, password):
    with MongoClient(uri_of(model, "rota", ROTA)) as root:
        root.admin.command("updateUser", user, pwd=password)


def find(client):
    return client.ask({"find": "things", "$db": "test"})


def test_another_user_of_the_uri_waits_for_a_restart_and_its_password_is_not_given_to_the_one_in_force(model, serve):
    proxy = serve("rota", ROTA, auth="trust")
    with RawClient(proxy.port) as client:
        assert find(client)["ok"] == 1
        for password in (ROTB, NEW):
            said = reload(proxy, upstream=uri_of(model, "rotb", password))
            lose_connections(model, proxy)
            assert find(client)["ok"] == 1
            users = client.ask({"connectionStatus": 1, "$db": "admin"})["authInfo"]["authenticatedUsers"]
            assert [one["user"] for one in users] == ["rota"]
            assert ("reload: the new user, authSource or authMechanism of main takes effect after a restart" in said) == (password == ROTB)
        change_password(model, "rota", NEW)
        reload(proxy, upstream=uri_of(model, "rota", NEW))
        lose_connections(model, proxy)
        assert find(client)["ok"] == 1, "the password of the one in force is taken"


def test_another_user_of_auth_query_waits_for_a_restart_too(model, serve, tmp_path):
    for user, password in (("rota", ROTA), ("rotb", ROTB)):
        (tmp_path / user).write_text(password)
    proxy = serve("rota", ROTA, auth="scram", auth_query={"user": "rota", "password_file": str(tmp_path / "rota")})
    with RawClient(proxy.port) as client:
        assert client.log_in("admin", "app", APP)["ok"] == 1
    said = reload(proxy, auth_query={"user": "rotb", "password_file": str(tmp_path / "rotb")})
    lose_connections(model, proxy)
    with RawClient(proxy.port) as client:
        assert client.log_in("admin", "late", APP)["ok"] == 1
    assert "reload: the new user or authSource of auth_query of main takes effect after a restart" in said


def test_a_user_that_the_configuration_names_no_more_keeps_no_password_of_it(model, serve, tmp_path):
    (tmp_path / "rota").write_text(ROTA)
    (tmp_path / "app").write_text(APP)
    proxy = serve("rota", ROTA, auth="scram", auth_query={"user": "rota", "password_file": str(tmp_path / "rota")},
                  users=[{"name": "app", "password_file": str(tmp_path / "app")}])
    with RawClient(proxy.port) as client:
        assert client.log_in("admin", "app", APP)["ok"] == 1
        assert find(client)["ok"] == 1
    del proxy.connection_config["users"]
    reload(proxy)
    change_password(model, "app", NEW)
    lose_connections(model, proxy)
    with RawClient(proxy.port) as client:
        assert client.log_in("admin", "app", NEW)["ok"] == 1
        for _ in range(2):
            assert find(client)["ok"] == 1, "by what its own proof yields"
            lose_connections(model, proxy)
