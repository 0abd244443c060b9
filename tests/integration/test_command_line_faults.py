"""The commands that speak to the admin port: the address, the token, and what they say where something is wrong."""

import json
import re
import socket

import pytest

from support.commands import ask, assert_sentence, reply, stub
from support.holdfast import Background, run_binary
from support.waiting import free_port

REMOTE = (["status"], ["reconnect", "main"], ["pause", "main"], ["resume", "main"], ["events"], ["config"])
TOKEN = "a-token-of-the-admin-port"


@pytest.fixture(name="guarded")
def guarded_proxy(server, start_holdfast, tmp_path):
    """A proxy whose admin port wants a token. The harness sends none: it is served when /healthz answers."""
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    admin_port = free_port()
    proxy = start_holdfast(server, top={"admin": {"listen": f"127.0.0.1:{admin_port}", "token_file": str(path)}}, wait=False)
    proxy.admin_port = admin_port
    proxy.secrets.add(TOKEN)
    proxy.token_path = path
    proxy.wait_until_serving()
    proxy.wait_for_log("connected to main")
    return proxy


@pytest.mark.parametrize("command", REMOTE, ids=lambda words: words[0])
def test_a_port_where_nobody_listens_is_a_sentence(command):
    port = free_port()
    assert_sentence(run_binary(*command, "--admin", f"http://127.0.0.1:{port}"), f"127.0.0.1:{port} does not answer: Connection refused")


@pytest.mark.parametrize("address", ("https://127.0.0.1", "http://127.0.0.1", "http://", "127.0.0.1:x", "http://h:1/path", ":1", "h:", "a b:1"))
def test_an_address_that_is_none_is_a_sentence(address):
    assert_sentence(run_binary("status", "--admin", address), re.escape(f"--admin {address}: "))


def test_the_address_can_come_from_the_environment_and_a_flag_goes_before_it(proxy):
    right, wrong = f"http://127.0.0.1:{proxy.admin_port}/", "http://127.0.0.1:1"
    assert run_binary("status", environment={"HOLDFAST_ADMIN": right}).returncode == 0
    assert run_binary("status", "--admin", right, environment={"HOLDFAST_ADMIN": wrong}).returncode == 0
    assert_sentence(run_binary("status", environment={"HOLDFAST_ADMIN": wrong}), "127.0.0.1:1 does not answer")


def test_the_commands_variable_is_no_setting_of_the_proxy(tmp_path):
    path = tmp_path / "holdfast.yaml"
    path.write_text('connections:\n  - {id: a, type: postgres, listen: "127.0.0.1:6432", upstream: "postgres://app@db/app"}\n')
    answer = run_binary("check", "-c", path, environment={"HOLDFAST_ADMIN": "http://127.0.0.1:9930"})
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


def test_an_admin_port_on_a_unix_socket_is_reached(server, start_holdfast, tmp_path):
    path = tmp_path / "admin.sock"
    proxy = start_holdfast(server, top={"admin": {"listen": f"unix:{path}"}}, wait=False)
    proxy.wait_for_log("connected to main")
    answer = run_binary("status", "--admin", f"unix:{path}")
    assert answer.returncode == 0 and " connected " in answer.stdout, answer
    assert_sentence(run_binary("status", "--admin", f"unix:{path}.no"), "does not answer: No such file")


@pytest.mark.parametrize("command", REMOTE, ids=lambda words: words[0])
def test_the_token_is_sent_and_a_wrong_one_is_told(guarded, tmp_path, command):
    assert_sentence(ask(guarded, *command), "wants a token")
    wrong = tmp_path / "wrong"
    wrong.write_text("another\n")
    assert_sentence(ask(guarded, *command, "--token-file", wrong), f"refuses the token of {wrong}")
    for words in ({"environment": {"HOLDFAST_ADMIN_TOKEN_FILE": str(guarded.token_path)}}, {}):
        answer = ask(guarded, *command, *(() if words else ("--token-file", guarded.token_path)), **words)
        assert answer.returncode == 0, answer
        assert TOKEN not in answer.stdout + answer.stderr


def test_a_token_file_that_cannot_be_used_is_a_sentence(tmp_path):
    assert_sentence(run_binary("status", "--token-file", tmp_path / "none"), "cannot read .*none: No such file")
    path = tmp_path / "token"
    path.write_text("\n")
    assert_sentence(run_binary("status", "--token-file", path), "token is empty")
    path.write_text("one\r\nX-Other: two\n")
    assert_sentence(run_binary("status", "--token-file", path), "more than one line")


def test_what_is_no_holdfast_is_a_sentence():
    for body in (b"{}", b"hello", b""):
        with stub(reply(body)) as address:
            for command in ("status", "events"):
                answer = run_binary(command, "--admin", address)
                assert answer.returncode == 1 and answer.stdout == "" and answer.stderr.startswith("holdfast: "), answer
    with stub(reply(b"<h1>no</h1>", 404)) as address:
        assert_sentence(run_binary("status", "--admin", address), "has no /api/v1/connections")
    with stub(reply(b"<h1>no</h1>", 500)) as address:
        assert_sentence(run_binary("status", "--admin", address), "answered 500")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        answer = Background(run_binary, "status", "--admin", address)
        client, _ = server.accept()
        client.recv(65536)
        client.sendall(b"EHLO there\r\n\r\n")
        client.close()
        assert_sentence(answer.result(), "is no HTTP")


def test_what_a_server_says_does_not_steer_the_terminal():
    state = {"connectionId": "a", "type": "postgres", "isConnected": False, "state": "failed", "lastError": "x\x1b[2J\x9b2Jy\nz"}
    with stub(reply(json.dumps([state]).encode())) as address:
        shown = run_binary("status", "--admin", address).stdout
    assert len(shown.splitlines()) == 2 and shown.endswith("x [2J 2Jy z\n"), shown


def test_a_command_line_that_is_wrong_is_exit_2():
    for arguments in (["pause"], ["resume"], ["reconnect"], ["events", "--since", "x"], ["events", "--since", "-1"], ["config", "more"]):
        answer = run_binary(*arguments)
        assert answer.returncode == 2 and answer.stderr.strip(), (arguments, answer)


def test_events_in_odd_pieces_are_put_together():
    text = b": hello\r\n\r\nid: 1\r\nevent:one\r\ndata: {\"time\":\"t\",\r\ndata:\"connectionId\":\"a\"}\r\n\r\nevent: two\ndata: no json\n\ndata: {}\n\n"

    def answer(handler):
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for byte in text:
            handler.wfile.write(b"1\r\n" + bytes([byte]) + b"\r\n")
        handler.wfile.write(b"0\r\n\r\n")
    with stub(answer) as address:
        shown = run_binary("events", "--admin", address)
    assert shown.returncode == 0 and shown.stdout == "t  a  one\nno json\n-  -  message\n", shown
