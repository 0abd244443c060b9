"""TLS on the admin port: the page and the commands over it, certificates of clients, and what is refused."""

import http.client
import json
import socket
import ssl

import pytest

from support.certificates import Authority
from support.commands import assert_sentence
from support.holdfast import run_binary
from support.waiting import free_port, wait_for


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority") / "ours")


def start(server, start_holdfast, authority, **files):
    """A proxy with TLS on its admin port; the harness, which speaks plain HTTP, does not wait for it."""
    certificate, key = authority.issue("admin", "DNS:localhost,IP:127.0.0.1")
    port = free_port()
    proxy = start_holdfast(server, wait=False, admin_port=port, admin={"tls": {"cert_file": certificate, "key_file": key, **files}})
    proxy.wait_for_log("connected to main")
    wait_for(lambda: socket.create_connection(("127.0.0.1", port), 1).close() is None, 10, "the admin port listens")
    return proxy


def get(proxy, authority, path="/api/v1/connections", own=None):
    context = ssl.create_default_context(cafile=authority.certificate)
    if own:
        context.load_cert_chain(*own)
    connection = http.client.HTTPSConnection("localhost", proxy.admin_port, context=context, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_the_api_the_page_and_the_events_are_served_in_tls(server, start_holdfast, authority):
    proxy = start(server, start_holdfast, authority)
    status, text = get(proxy, authority)
    assert status == 200 and json.loads(text)[0]["state"] == "connected"
    assert get(proxy, authority, "/")[1].startswith("<!doctype html>")
    address = f"https://localhost:{proxy.admin_port}"
    answer = run_binary("status", "--admin", address, "--ca-file", authority.certificate)
    assert answer.returncode == 0 and " connected " in answer.stdout, answer
    events = run_binary("events", "--admin", address, "--ca-file", authority.certificate)
    assert events.returncode == 0 and "database-connected" in events.stdout, events


def test_the_end_of_an_answer_is_said_in_tls_too(server, start_holdfast, authority):
    proxy = start(server, start_holdfast, authority)
    context = ssl.create_default_context(cafile=authority.certificate)
    with socket.create_connection(("127.0.0.1", proxy.admin_port), 10) as plain:
        # Python raises SSLEOFError where the connection ends without TLS's own end.
        with context.wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False) as client:
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = b""
            while piece := client.recv(4096):
                answer += piece
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_the_commands_believe_no_other_authority_and_no_other_name(server, start_holdfast, authority, tmp_path):
    proxy = start(server, start_holdfast, authority)
    stranger = Authority(tmp_path / "stranger", "somebody else")
    address = f"https://localhost:{proxy.admin_port}"
    assert_sentence(run_binary("status", "--admin", address, "--ca-file", stranger.certificate), "certificate verify failed")
    assert_sentence(run_binary("status", "--admin", address), "certificate verify failed")
    other_name = f"https://127.0.0.2:{proxy.admin_port}"
    assert run_binary("status", "--admin", other_name, "--ca-file", authority.certificate).returncode == 1
    assert_sentence(run_binary("status", "--admin", address, "--ca-file", tmp_path / "none"), "--ca-file .*none")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_plain_http_and_old_versions_of_tls_get_nowhere(server, start_holdfast, authority):
    proxy = start(server, start_holdfast, authority)
    assert_sentence(run_binary("status", "--admin", f"http://127.0.0.1:{proxy.admin_port}"), "does not answer")
    with socket.create_connection(("127.0.0.1", proxy.admin_port), 10) as plain:
        plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        plain.settimeout(15)
        assert b"200" not in plain.recv(4096)
    context = ssl.create_default_context(cafile=authority.certificate)
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError), socket.create_connection(("127.0.0.1", proxy.admin_port), 10) as plain:
        context.wrap_socket(plain, server_hostname="localhost")
    assert get(proxy, authority)[0] == 200


def test_a_certificate_of_the_client_is_demanded_where_an_authority_is_named(server, start_holdfast, authority, tmp_path):
    proxy = start(server, start_holdfast, authority, client_ca_file=authority.certificate)
    own = authority.issue("operator")
    assert get(proxy, authority, own=own)[0] == 200
    foreign = Authority(tmp_path / "stranger", "somebody else").issue("operator")
    for files in (None, foreign):
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
            get(proxy, authority, own=files)
    address = f"https://localhost:{proxy.admin_port}"
    words = ("status", "--admin", address, "--ca-file", authority.certificate)
    assert run_binary(*words, "--cert-file", own[0], "--key-file", own[1]).returncode == 0
    assert run_binary(*words).returncode == 1
    assert get(proxy, authority, own=own)[0] == 200


def test_a_certificate_that_cannot_be_used_is_a_sentence_at_the_start(server, start_holdfast, tmp_path):
    (tmp_path / "cert").write_text("nothing of the kind\n")
    proxy = start_holdfast(server, wait=False, admin={"tls": {"cert_file": str(tmp_path / "cert"), "key_file": str(tmp_path / "cert")}})
    proxy.expect_exit(1)
    assert proxy.process.wait(timeout=10) == 1
    assert "admin: cert_file" in proxy.log()
