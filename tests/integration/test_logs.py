"""Log lines: JSON objects with what they are about, a level that changes at run time, and no flood of lines that are alike."""

import json
import re

import psycopg
import pytest

from support.holdfast import Background
from support.mongo import ModelSet
from support.waiting import wait_for


def objects(proxy):
    return [json.loads(line) for line in proxy.log().splitlines()]


def test_json_lines_say_which_connection_session_and_event_they_are_about(server, start_holdfast):
    proxy = start_holdfast(server, top={"log": {"format": "json", "level": "debug"}}, connection={"reconnect": {"retry_delay": "100ms"}})
    client = proxy.connect()
    client.execute("SELECT 1")
    server.stop()
    held = Background(lambda: client.execute("SELECT 2").fetchone())
    wait_for(lambda: proxy.state()["sessions"]["waiting"] == 1, 10, "the statement is held")
    server.start()
    assert held.result() == (2,)
    found = wait_for(lambda: [line for line in objects(proxy) if line.get("event") == "database-reconnected"], 10, "the return is logged")[0]
    assert found["connection"] == "main" and isinstance(found["downtimeMs"], int) and found["sessionsRestored"] == 1, found
    lost = next(line for line in objects(proxy) if line.get("event") == "database-connection-lost")
    assert lost["level"] == "warn" and lost["connection"] == "main" and lost["message"].startswith("connection lost to main"), lost
    sessions = [line for line in objects(proxy) if line["message"].startswith("main: session")]
    assert sessions and all(line["connection"] == "main" and line["session"] == 1 for line in sessions), sessions
    assert {"time", "level", "message", "connection"} == objects(proxy)[0].keys()


def test_why_there_is_no_connection_is_logged_once_for_each_reason(server, start_holdfast):
    proxy = start_holdfast(server.uri("scram_user", password="wrong-horse-1b2c"), connection={"auth": "scram"}, ready=False)
    proxy.secrets.add("wrong-horse-1b2c")
    proxy.wait_for_log("warn cannot connect to main: .*password authentication failed")
    proxy.admin("/api/v1/connections/main/reconnect", {})
    with ModelSet("--members", 1) as model:
        other = start_holdfast(model.uri().replace("replicaSet=rs0", "replicaSet=another"), ready=False,
                               connection={"type": "mongodb", "reconnect": {"retry_delay": "20ms", "max_retries": 5, "jitter": 0}})
        other.wait_for_state("failed")
        assert other.log().count("cannot connect to main") == 1
        assert re.search('cannot connect to main: .*member of "rs0" and not of "another"', other.log()), other.log()


def test_what_clients_say_makes_no_field_and_no_line_of_its_own(server, start_holdfast):
    proxy = start_holdfast(server.uri("scram_user", password="correct-horse-7f3a"), connection={"auth": "scram"}, top={"log": {"format": "json"}})
    with pytest.raises(psycopg.OperationalError):
        proxy.connect(user='x: session 99 "}\n{"level":"error"', password="y")
    wait_for(lambda: any("refused" in line["message"] for line in objects(proxy)), 10, "the refusal is logged")
    assert all("session" not in line and line["level"] != "error" for line in objects(proxy)), proxy.log()


def test_the_level_changes_at_run_time_and_is_announced(server, proxy):
    proxy.connect().execute("SELECT 1")
    status, text = proxy.admin("/api/v1/config", {"log": {"level": "debug"}}, method="PATCH")
    assert status == 200 and json.loads(text)["log"]["level"] == "debug" and json.loads(text)["differs_from_file"] == {"log": {"level": "info"}}
    proxy.connect().close()
    proxy.wait_for_log(r"debug main: session \d+ ended")
    assert proxy.admin("/api/v1/config", {"log": {"level": "warn"}}, method="PATCH")[0] == 200
    before = proxy.log()
    assert proxy.admin("/api/v1/connections/main/reconnect", {})[0] == 202
    wait_for(lambda: proxy.metric("holdfast_reconnect_attempts_total", result="succeeded") == 1, 10, "it has reconnected")
    assert " info " not in proxy.log()[len(before):]


def test_lines_that_are_alike_are_left_out_when_they_are_many(server, start_holdfast):
    proxy = start_holdfast(server.uri("scram_user", password="correct-horse-7f3a"), connection={"auth": "scram"})
    for _ in range(40):
        with pytest.raises(psycopg.OperationalError):
            proxy.connect(user="scram_user", password="wrong")
    refused = proxy.log().count("login of scram_user")
    # A machine so slow that a new window began meanwhile writes up to 20 more, and says what it left out.
    assert refused == 20 or "lines like: main: login of scram_user" in proxy.log(), refused
