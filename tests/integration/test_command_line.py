"""The commands that speak to the admin port of a real proxy: what they print and their exit codes; shell completion, man page."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import time

import pytest

from support.commands import Running, ask, assert_sentence, reply, stub
from support.holdfast import BINARY, Background, run_binary
from support.waiting import wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]
ESCAPE = "\x1b"


@pytest.fixture
def running():
    commands = []

    def start(*arguments, **words):
        commands.append(Running(*arguments, **words))
        return commands[-1]
    yield start
    for command in commands:
        command.end()


# status.

def test_status_is_a_table_without_colours(proxy):
    answer = ask(proxy, "status")
    assert answer.returncode == 0 and answer.stderr == "", answer
    heading, line = answer.stdout.splitlines()
    assert heading.split()[:4] == ["ID", "TYPE", "STATE", "BREAKER"]
    assert line.split()[:4] == ["main", "postgres", "connected", "closed"]
    assert ESCAPE not in answer.stdout


def test_status_counts_the_sessions(proxy):
    client = proxy.connect()
    client.execute("SELECT 1")
    wait_for(lambda: re.search(r"\b0/1/0\b", ask(proxy, "status").stdout), 10, "an idle session")


def test_status_as_json_is_the_answer_of_the_api(proxy):
    answer = ask(proxy, "status", "--json")
    assert answer.returncode == 0, answer
    states = json.loads(answer.stdout)
    assert [state["connectionId"] for state in states] == ["main"]
    assert states[0].keys() == proxy.state().keys()


def test_status_is_1_where_a_connection_is_not_connected(start_holdfast):
    proxy = start_holdfast("postgres://app@127.0.0.1:1/app?sslmode=disable", ready=False)
    wait_for(lambda: proxy.state()["lastError"], 10, "the error is known")
    answer = ask(proxy, "status")
    assert answer.returncode == 1 and answer.stderr == "", answer
    assert "main" in answer.stdout and "refused" in answer.stdout


def test_watching_prints_a_block_each_second(proxy, running):
    command = running("status", "--watch", "--admin", f"127.0.0.1:{proxy.admin_port}")
    command.read_until(r"ID .*main .*\n\nID .*main ")
    assert ESCAPE not in command.text
    assert command.process.poll() is None


def test_watching_on_a_terminal_draws_in_place_and_in_colour(proxy, running):
    address = f"127.0.0.1:{proxy.admin_port}"
    running("status", "--watch", "--admin", address, terminal=True).read_until("\x1b\\[H.*\x1b\\[32mconnected\x1b\\[0m.*\x1b\\[H")
    plain = running("status", "--watch", "--admin", address, terminal=True, environment={"NO_COLOR": "1"})
    plain.read_until("\x1b\\[H.*connected.*\x1b\\[H")
    assert not re.search("\x1b\\[[0-9;]*m", plain.text), plain.text
    dumb = running("status", "--watch", "--admin", address, terminal=True, environment={"TERM": "dumb", "NO_COLOR": "1"})
    dumb.read_until("connected.*connected")
    assert ESCAPE not in dumb.text


def test_watching_follows_a_kill_and_the_return(server, start_holdfast, running):
    proxy = start_holdfast(server, connection={"reconnect": {"max_retries": 1, "retry_delay": "100ms"}})
    command = running("status", "--watch", "--admin", f"127.0.0.1:{proxy.admin_port}")
    command.read_until(r"main .* connected ")
    server.kill9()
    command.read_until(r" connected .*main .* failed .*refused", deadline=20)
    server.start()
    command.read_until(r" failed .*main .* connected ", deadline=20)


def test_watching_outlives_the_proxy(server, start_holdfast, running):
    proxy = start_holdfast(server)
    command = running("status", "--watch", "--admin", f"127.0.0.1:{proxy.admin_port}", terminal=True)
    command.read_until("connected")
    proxy.terminate()
    command.read_until("does not answer: Connection refused")
    assert command.process.poll() is None


# Orders.

def test_pause_holds_and_resume_releases(proxy):
    client = proxy.connect()
    assert client.execute("SELECT 1").fetchone() == (1,)
    paused = ask(proxy, "pause", "main")
    assert (paused.returncode, paused.stdout) == (0, "paused main\n"), paused
    assert proxy.state()["state"] == "paused"
    assert " paused " in ask(proxy, "status").stdout
    held = Background(lambda: client.execute("SELECT 2").fetchone())
    wait_for(lambda: proxy.state()["sessions"]["waiting"] == 1, 10, "the statement is held")
    assert not held.is_done
    resumed = ask(proxy, "resume", "main")
    assert (resumed.returncode, resumed.stdout) == (0, "resumed main\n"), resumed
    assert held.result() == (2,)
    proxy.wait_for_state("connected")


def test_reconnect_is_obeyed(proxy):
    answer = ask(proxy, "reconnect", "main")
    assert (answer.returncode, answer.stdout) == (0, "reconnecting main\n"), answer
    proxy.wait_for_log(r"reconnect")
    proxy.wait_for_state("connected")


@pytest.mark.parametrize("order", ("reconnect", "pause", "resume"))
def test_an_order_for_an_unknown_id_is_a_sentence(proxy, order):
    for name in ("nobody", "../main", "a b", "main/pause", "é", "%", "?"):
        assert_sentence(ask(proxy, order, name), f'no connection with the id "{re.escape(name)}"')
    assert proxy.state()["state"] == "connected"


# config.

def test_config_prints_what_the_api_answers(proxy):
    status, text = proxy.admin("/api/v1/config")
    answer = ask(proxy, "config")
    assert status == 200 and answer.returncode == 0 and json.loads(answer.stdout) == json.loads(text), answer


def test_config_is_indented_json_in_the_order_it_came():
    document = {"workers": 1, "drain": {"a": [], "b": {}, "c": [1, {"x": None}], "d": "é\"\\ "}, "admin": True, "jitter": [[2]]}
    with stub(reply(json.dumps(document).encode())) as address:
        answer = run_binary("config", "--admin", address)
    assert (answer.returncode, answer.stdout) == (0, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


# events.

def test_events_prints_what_the_proxy_still_knows_and_ends(proxy):
    started = time.monotonic()
    answer = ask(proxy, "events")
    assert answer.returncode == 0 and answer.stderr == "", answer
    assert 0.4 < time.monotonic() - started < 5
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z  main  database-connected", answer.stdout), answer
    assert ESCAPE not in answer.stdout


def test_events_as_json_is_their_data_and_since_leaves_out_what_was_seen(server, proxy):
    server.kill9()
    server.start()
    wait_for(lambda: "database-reconnected" in ask(proxy, "events").stdout, 20, "the return is told")
    all_of_them = [json.loads(line) for line in ask(proxy, "events", "--json").stdout.splitlines()]
    assert [event["id"] for event in all_of_them] == list(range(1, len(all_of_them) + 1))
    assert {event["connectionId"] for event in all_of_them} == {"main"}
    later = ask(proxy, "events", "--json", "--since", len(all_of_them) - 1)
    assert json.loads(later.stdout)["id"] == len(all_of_them)
    text = ask(proxy, "events").stdout
    assert re.search(r"database-connection-lost  reason=\"", text) and re.search(r"database-reconnected  downtimeMs=\d+", text), text


def test_following_events_shows_them_as_they_come_and_says_when_the_proxy_ends(server, start_holdfast, running):
    proxy = start_holdfast(server)
    command = running("events", "--follow", "--since", 0, "--admin", f"http://127.0.0.1:{proxy.admin_port}")
    command.read_until("database-connected")
    server.kill9()
    command.read_until("database-connection-lost", deadline=20)
    assert command.process.poll() is None
    server.start()
    command.read_until("database-reconnected", deadline=20)
    proxy.terminate()
    assert command.process.wait(timeout=10) == 1
    assert b"ended the stream" in command.process.stderr.read()


def test_following_without_a_number_begins_now(proxy, running):
    later = running("events", "--follow", "--admin", f"127.0.0.1:{proxy.admin_port}")

    def has_heard():
        ask(proxy, "reconnect", "main")  # again and again: it may not follow yet
        return later.read_until(r"\n", deadline=1)
    wait_for(has_heard, 15, "something that happens is told")
    assert "database-connected" not in later.text


# What is installed beside the program.

def helped(text):
    """The commands and long flags that a help text names."""
    return set(re.findall(r"--[a-z][a-z-]+", text))


def test_completion_and_man_page_know_every_command_and_flag():
    texts = {path: (ROOT / path).read_text() for path in
             ("deploy/completion/holdfast.bash", "deploy/completion/_holdfast", "deploy/man/holdfast.1")}
    texts["deploy/man/holdfast.1"] = texts["deploy/man/holdfast.1"].replace("Fl -", "Fl --").replace("\\-", "-")
    overview = run_binary("--help").stdout
    commands = re.findall(r"^  ([a-z]+) ", overview.split("Subcommands:")[1], re.MULTILINE)
    assert {"run", "status", "events", "pause"} <= set(commands)
    for command in commands:
        for word in {command} | helped(run_binary(command, "--help").stdout):
            for path, text in texts.items():
                assert re.search(rf"(?<![\w-]){re.escape(word)}\b", text), (path, command, word)


def complete(*words, environment=None):
    """What bash offers for the last word."""
    script = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _holdfast; printf "%s\\n" "${COMPREPLY[@]}"')
    answer = subprocess.run(["bash", "-c", script, "bash", str(ROOT / "deploy/completion/holdfast.bash"), str(BINARY), *words],
                            capture_output=True, text=True, timeout=15, check=False, env={**os.environ, **(environment or {})})
    return answer.stdout.split()


def test_bash_completes_commands_flags_and_the_connections_of_the_running_proxy(proxy):
    assert complete("re") == ["reconnect", "resume"]
    assert complete("events", "--f") == ["--follow"]
    assert complete("demo", "") [:2] == ["postgres", "mongodb"]
    assert complete("pause", "m", environment={"HOLDFAST_ADMIN": f"127.0.0.1:{proxy.admin_port}"}) == ["main"]
    # As bash splits the line, at the colons.
    port = str(proxy.admin_port)
    assert complete("pause", "--admin", "http", ":", "//127.0.0.1", ":", port, "") == ["main"]
    assert complete("pause", "--admin", "http", ":", "//127.0.0.1", ":", "1", "") == []


@pytest.mark.skipif(shutil.which("groff") is None, reason="needs groff")
def test_the_man_page_has_no_warnings():
    answer = subprocess.run(["groff", "-mandoc", "-Tutf8", "-ww", "-z", str(ROOT / "deploy/man/holdfast.1")],
                            capture_output=True, text=True, timeout=30, check=False)
    assert answer.returncode == 0 and answer.stderr == "", answer
