"""The command line and the configuration: exit codes, one line for each mistake, start-up failures in one sentence, SIGHUP."""

import re
import socket

import psycopg
import pytest
import yaml

from expectations import assert_alive
from support.holdfast import run_binary
from support.waiting import free_port, wait_for

FIVE_MISTAKES = """\
admin:
  listen: 127.0.0.1:9930
reconnect:
  max_retries: many
  retry_dealy: 5s
  jitter: 2
connections:
  - id: orders
    type: postgres
    listen: 127.0.0.1:99999
    upstream: postgres://app:hunter-2-secret@db/app?sslmode=sometimes
"""

VALID = """\
connections:
  - {id: orders, type: postgres, listen: "127.0.0.1:6432", upstream: "postgres://app@db-0.db:5432,db-1.db:5432/orders"}
"""


def test_version_and_help_answer():
    version = run_binary("--version")
    assert version.returncode == 0 and re.search(r"\d+\.\d+\.\d+", version.stdout)
    for arguments in (["--help"], ["run", "--help"], ["check", "--help"], ["demo", "--help"], ["status", "--help"]):
        answer = run_binary(*arguments)
        assert answer.returncode == 0 and answer.stdout.strip(), arguments


def test_the_help_and_the_refusal_of_an_upstream_name_both_databases():
    told = " ".join(run_binary("run", "--help").stdout.split())
    assert all(scheme in told for scheme in ("postgres://", "mongodb://", "mongodb+srv://")), told
    answer = run_binary("run", "--upstream", "127.0.0.1:27017")
    assert answer.returncode == 2, answer
    assert answer.stderr == "--upstream: an upstream begins with postgres://, postgresql://, mongodb:// or mongodb+srv://\n"


def test_an_unencoded_password_is_told_without_any_of_it():
    for uri in ("mongodb://app:hush/w0rd@db:27017/", "mongodb://app:hush@w0rd/w0rd@db", "postgres://app:hush/w0rd@db/x"):
        answer = run_binary("run", "--upstream", uri)
        assert answer.returncode == 2 and "must be percent-encoded" in answer.stderr, answer
        assert "hush" not in answer.stderr and "w0rd" not in answer.stderr


@pytest.mark.parametrize("pair", (("*", "127.0.0.1"), ("127.0.0.1", "0.0.0.0"), ("localhost", "127.0.0.1"), ("[::]", "[::1]")))
def test_addresses_that_cannot_be_bound_side_by_side_do_not_pass_check(tmp_path, pair):
    if "[::]" in pair and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    path, port = tmp_path / "holdfast.yaml", free_port()
    path.write_text(yaml.safe_dump({"connections": [{"id": f"c{i}", "type": "mongodb", "listen": f"{host}:{port}", "upstream": "mongodb://127.0.0.1:1"}
                                                    for i, host in enumerate(pair)]}))
    for command in ("check", "run"):
        answer = run_binary(command, "-c", path)
        assert answer.returncode == 2 and f"c1: {pair[1]}:{port} cannot be listened on beside {pair[0]}:{port}" in answer.stderr, answer


def test_an_unknown_command_or_flag_is_exit_2_or_1_with_a_sentence():
    for arguments in (["frobnicate"], ["run", "--frobnicate"]):
        answer = run_binary(*arguments)
        assert answer.returncode != 0 and answer.stderr.strip(), arguments


def test_a_valid_file_passes_check(tmp_path):
    path = tmp_path / "holdfast.yaml"
    path.write_text(VALID)
    answer = run_binary("check", "-c", path)
    assert answer.returncode == 0, answer


@pytest.mark.parametrize("command", ("check", "run"))
def test_five_mistakes_are_five_lines_with_line_and_column(tmp_path, command):
    path = tmp_path / "holdfast.yaml"
    path.write_text(FIVE_MISTAKES)
    answer = run_binary(command, "-c", path)
    assert answer.returncode == 2, answer
    found = re.findall(rf"^{re.escape(str(path))}:(\d+):(\d+): (.+)$", answer.stdout + answer.stderr, re.MULTILINE)
    assert [int(line) for line, _, _ in found] == [4, 5, 6, 10, 11], answer
    assert all(int(column) > 1 and len(words) > 10 for _, column, words in found), found
    assert "hunter-2-secret" not in answer.stdout + answer.stderr


@pytest.mark.parametrize("text", ("", "connections: []\n", "connections: 7\n", "- a\n- b\n", "a: [1, 2\n", "\t\n", "\0\0", "a: &a [*a]\n",
                                  "connections:\n  - id: x\n  - id: x\n"))
def test_what_is_no_configuration_is_exit_2_with_a_line(tmp_path, text):
    path = tmp_path / "holdfast.yaml"
    path.write_text(text)
    answer = run_binary("check", "-c", path)
    assert answer.returncode == 2 and str(path) in answer.stdout + answer.stderr, answer


def test_a_file_that_is_not_there_is_exit_2(tmp_path):
    for command in ("check", "run"):
        answer = run_binary(command, "-c", tmp_path / "nothing.yaml")
        assert answer.returncode == 2 and "nothing.yaml" in answer.stdout + answer.stderr, answer


def test_trust_on_a_public_address_is_refused(tmp_path):
    path = tmp_path / "holdfast.yaml"
    path.write_text('connections:\n  - {id: a, type: postgres, listen: "0.0.0.0:6432", upstream: "postgres://app@db/app", auth: trust}\n')
    answer = run_binary("check", "-c", path)
    assert answer.returncode == 2 and "trust" in answer.stdout + answer.stderr, answer


def test_a_public_admin_port_without_a_token_is_refused(tmp_path):
    path = tmp_path / "holdfast.yaml"
    path.write_text('admin: {listen: "0.0.0.0:9930"}\n' + VALID)
    answer = run_binary("check", "-c", path)
    assert answer.returncode == 2 and "token" in answer.stdout + answer.stderr, answer


def test_a_port_in_use_is_one_sentence_and_exit_1(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answer = run_binary("run", "--upstream", "postgres://app@127.0.0.1:1/app", "--listen", f"127.0.0.1:{port}", "--admin", "off")
    assert answer.returncode == 1, answer
    assert str(port) in answer.stdout + answer.stderr and "in use" in (answer.stdout + answer.stderr).lower(), answer


def test_an_unreadable_key_is_one_sentence_and_exit_2_or_1(tmp_path):
    path = tmp_path / "holdfast.yaml"
    document = yaml.safe_load(VALID)
    document["connections"][0]["tls"] = {"cert_file": str(tmp_path / "no-cert.pem"), "key_file": str(tmp_path / "no-key.pem")}
    document["admin"] = {"listen": f"127.0.0.1:{free_port()}"}
    path.write_text(yaml.safe_dump(document))
    answer = run_binary("run", "-c", path)
    assert answer.returncode in (1, 2) and "no-" in answer.stdout + answer.stderr, answer


def test_an_unknown_host_is_told_and_waited_for(start_holdfast):
    proxy = start_holdfast("postgres://app@no-such-host.invalid:5432/app?sslmode=disable", ready=False,
                           connection={"reconnect": {"hold_timeout": "1s"}})
    error = wait_for(lambda: proxy.state()["lastError"], 15, "the error is shown")
    assert "no-such-host.invalid" in error
    with pytest.raises(psycopg.OperationalError) as caught:
        proxy.connect()
    assert "no-such-host.invalid" in str(caught.value)


def test_one_connection_needs_no_file_but_flags(server, start_holdfast):
    uri = server.uri()
    proxy = start_holdfast(uri, arguments=["run", "--upstream", uri, "--listen", "127.0.0.1:{port}", "--admin", "127.0.0.1:{admin}"],
                           environment={"HOLDFAST_AUTH": "trust"})
    assert proxy.state()["connectionId"] == "default"
    assert proxy.connect().execute("SELECT 1").fetchone() == (1,)


def test_one_connection_needs_no_file_but_the_environment(server, start_holdfast):
    port = free_port()
    proxy = start_holdfast(server.uri(), arguments=["run", "--admin", "127.0.0.1:{admin}"], environment={
        "HOLDFAST_UPSTREAM": server.uri(), "HOLDFAST_LISTEN": f"127.0.0.1:{port}", "HOLDFAST_AUTH": "trust"})
    proxy.port = port
    assert proxy.connect().execute("SELECT 1").fetchone() == (1,)


def test_the_environments_defaults_count_and_flags_go_before_them(start_holdfast):
    proxy = start_holdfast("postgres://app@127.0.0.1:1/app", ready=False, environment={
        "DB_RETRY_DELAY": "321000", "DB_MAX_RETRIES": "7", "HOLDFAST_RECONNECT_JITTER": "0"})
    proxy.wait_for_log(r"scheduling reconnection attempt 1/7 for main in 321000ms")


# SIGHUP.

def test_a_valid_reload_applies_without_dropping_a_session(server, start_holdfast):
    proxy = start_holdfast(server, connection={"max_clients": 1})
    client = proxy.wire()
    client.query("SET search_path = extra")
    with pytest.raises(psycopg.OperationalError):
        proxy.connect()
    proxy.connection_config["max_clients"] = 10
    proxy.write_config()
    proxy.reload()

    def second_client():
        return proxy.connect().execute("SELECT 1").fetchone() == (1,)
    wait_for(second_client, 10, "the new limit counts")
    assert client.value("SHOW search_path") == "extra"


def test_an_invalid_reload_changes_nothing_and_is_logged(server, proxy):
    client = proxy.wire()
    proxy.write_config(FIVE_MISTAKES)
    proxy.reload()
    proxy.wait_for_log(r"holdfast\.yaml:4:\d+: ")
    assert "hunter-2-secret" not in proxy.log()
    assert_alive(client)
    assert_alive(proxy.wire())
    assert proxy.state()["state"] == "connected"
