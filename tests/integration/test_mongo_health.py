"""The health check of a MongoDB upstream asks the database, not only the server in front of it, and disturbs no client."""

import json

import pytest

from support.mongo import ModelSet
from support.mongo_listener import WatchedClient
from support.waiting import wait_for

PASSWORD = "rootpw-c0ffee"
HEALTH = {"interval": "200ms", "timeout": "3s", "failures": 3}


def asked(model, command):
    return model.state(model.primary())["commands"].get(command, 0)


@pytest.mark.parametrize("login,command", [(None, "ping"), (f"root:{PASSWORD}", "listDatabases")])
def test_it_asks_what_the_login_of_the_uri_may_ask(start_holdfast, login, command):
    users = ("--user", f"admin:root:{PASSWORD}:root") if login else ()
    with ModelSet("--members", 3, *users) as model:
        uri = model.uri().replace("mongodb://", f"mongodb://{login}@" if login else "mongodb://")
        proxy = start_holdfast(uri, connection={"type": "mongodb", "health": HEALTH})
        proxy.secrets.add(PASSWORD)
        wait_for(lambda: asked(model, command) >= 2, what=f"two times {command}")
        model.do("step_down")
        wait_for(lambda: model.primary() is not None, what="another primary")
        before = asked(model, command)
        wait_for(lambda: asked(model, command) > before, what=f"{command} at the new primary")
        assert "the database does not answer" not in proxy.log(), proxy.log()


def test_a_database_that_says_hello_and_does_not_answer_is_told_and_clients_go_on(start_holdfast):
    with ModelSet("--members", 3) as model:
        proxy = start_holdfast(model.uri(), connection={"type": "mongodb", "health": {**HEALTH, "timeout": "300ms"}})
        watched = WatchedClient(proxy.port)
        proxy.clients.append(watched)
        watched.collection.insert_one({"_id": "warm", "n": 0})
        primary = model.primary()
        model.do("delay", member=primary, ms=5000, commands=["ping"])
        proxy.wait_for_log(r"health check failed for main: the database does not answer in time \(127\.0\.0\.1:\d+\)")
        proxy.wait_for_log("connection lost to main|reconnected to main")
        watched.collection.update_one({"_id": "warm"}, {"$inc": {"n": 1}})
        assert watched.collection.find_one({"_id": "warm"})["n"] == 1
        watched.saw_nothing()
        model.do("delay", member=primary, ms=0, commands=["ping"])
        failures = lambda: proxy.log().count("health check failed")  # noqa: E731

        def quiet():
            """As many checks as it takes to be lost, and not one failed."""
            before, checks = failures(), proxy.metric("holdfast_health_check_seconds_count", connection="main")
            wait_for(lambda: proxy.metric("holdfast_health_check_seconds_count", connection="main") >= checks + 5, what="five checks")
            return failures() == before
        wait_for(quiet, what="checks that succeed again")
        assert json.loads(proxy.admin("/api/v1/connections/main")[1])["isConnected"]
