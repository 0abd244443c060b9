"""holdfast has no descriptor left: that says nothing of its servers, and costs nobody what is under way."""

import time
from contextlib import ExitStack

import pytest

from support.descriptors import none_left
from support.holdfast import Background
from support.mongo import ModelSet
from support.mongo_raw import RawClient
from support.waiting import wait_for

PING = {"ping": 1, "$db": "admin"}


@pytest.fixture
def model():
    with ModelSet("--members", 1) as one:
        yield one


def start(start_holdfast, model, **connection):
    return start_holdfast(model.uri(), connection={"type": "mongodb", "health": {"interval": "60s"}, **connection})


def test_a_slow_command_is_not_cut_off(model, start_holdfast):
    proxy = start(start_holdfast, model, reconnect={"hang_timeout": "500ms"})
    with RawClient(proxy.port) as client:
        client.ask({"insert": "t", "documents": [{"_id": 1, "n": 0}], "$db": "test"})
        model.do("delay", ms=3000, commands=["update"])
        with none_left(proxy.process):
            answer = client.ask({"update": "t", "updates": [{"q": {}, "u": {"$inc": {"n": 1}}, "multi": True}], "$db": "test"})
        assert answer.get("nModified") == 1, answer
    assert "answers neither" not in proxy.log()


def test_the_database_is_not_taken_for_silent_that_cannot_be_asked(model, start_holdfast):
    proxy = start(start_holdfast, model, health={"interval": "2s", "timeout": "1s"})

    def hellos():
        commands = model.state(model.primary())["commands"]
        return sum(commands.get(name, 0) for name in ("hello", "isMaster"))
    with none_left(proxy.process):
        before = hellos()
        wait_for(lambda: hellos() >= before + 3, what="three checks")
    assert "health check failed" not in proxy.log(), proxy.log()
    assert "connection lost" not in proxy.log(), proxy.log()


def test_who_finds_no_connection_waits_for_one_that_there_is(model, start_holdfast):
    proxy = start(start_holdfast, model, reconnect={"hold_timeout": "20s"})
    with ExitStack() as stack:
        clients = [stack.enter_context(RawClient(proxy.port)) for _ in range(6)]
        assert all(client.ask(PING)["ok"] for client in clients)
        model.do("delay", ms=200, commands=["ping"])
        with none_left(proxy.process):
            answers = [answer.result() for answer in [Background(client.ask, PING) for client in clients]]
        assert [answer["ok"] for answer in answers] == [1] * 6, answers
    assert "connection lost" not in proxy.log(), proxy.log()


def test_a_postgresql_server_is_left_only_where_a_login_could_have_been_made(server, start_holdfast):
    proxy = start_holdfast(server, connection={"reconnect": {"hang_timeout": "500ms"}, "health": {"interval": "60s", "failures": 1000}})
    client = proxy.wire()
    backend = client.value("SELECT pg_backend_pid()")
    with none_left(proxy.process):
        server.freeze()
        slow = Background(client.value, "SELECT pg_backend_pid()")
        time.sleep(3)
        server.thaw()
        assert slow.result() == backend
    assert "does not answer" not in proxy.log(), proxy.log()
