"""Webhooks: what a receiver gets, how it knows that it is ours, what happens when it fails, and that nobody waits for it."""

import contextlib
import hashlib
import hmac
import http.server
import json
import socket
import threading
import time

import pytest

from support.waiting import free_port, wait_for

SECRET = "secret-of-a-webhook-52fe"
QUICK = {"reconnect": {"retry_delay": "100ms"}}


class Receiver:
    """An HTTP server that keeps what it got; `statuses` are its answers to the first requests, 204 to those after them."""

    def __init__(self, statuses=(), port=0):
        self.got, self._statuses = [], list(statuses)
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):  # pylint: disable=invalid-name
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = receiver._statuses.pop(0) if receiver._statuses else 204
                receiver.got.append((dict(self.headers), body, self.path, status))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):  # pylint: disable=arguments-differ
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def events(self):
        """Names of what it has taken."""
        return [json.loads(body)["event"] for _, body, _, status in self.got if status == 204]

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receive():
    with contextlib.ExitStack() as stack:
        def start(*arguments, **words):
            return stack.enter_context(contextlib.closing(Receiver(*arguments, **words)))
        yield start


def notify(port, *events, **more):
    return {"notify": [{"url": f"http://127.0.0.1:{port}/hook?key=path-secret", **({"events": list(events)} if events else {}), **more}]}


def test_a_receiver_is_told_of_a_loss_and_the_return_and_can_check_that_it_is_ours(server, start_holdfast, receive, tmp_path):
    (tmp_path / "secret").write_text(SECRET + "\n")
    receiver = receive()
    proxy = start_holdfast(server, connection=QUICK, top=notify(receiver.port, "database-connection-lost", "database-reconnected",
                                                                secret_file=str(tmp_path / "secret")))
    proxy.secrets |= {SECRET, "path-secret"}
    server.restart()
    wait_for(lambda: receiver.events() == ["database-connection-lost", "database-reconnected"], 15, "both events")
    for headers, body, path, _ in receiver.got:
        assert path == "/hook?key=path-secret" and headers["Content-Type"] == "application/json"
        data = json.loads(body)
        assert data["connectionId"] == "main" and data["id"] == int(headers["X-Holdfast-Id"]) and data["event"] == headers["X-Holdfast-Event"]
        signed = f"{headers['X-Holdfast-Timestamp']}.".encode() + body
        assert headers["X-Holdfast-Signature"] == "sha256=" + hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
        assert abs(int(headers["X-Holdfast-Timestamp"]) - time.time()) < 60
    assert json.loads(receiver.got[1][1])["downtimeMs"] >= 0


def test_without_a_list_every_event_is_sent_and_without_a_secret_no_signature(server, start_holdfast, receive):
    receiver = receive()
    proxy = start_holdfast(server, connection=QUICK, top=notify(receiver.port))
    assert proxy.admin("/api/v1/config", {"reconnect": {"max_retries": 9}}, method="PATCH")[0] == 200
    wait_for(lambda: "config-changed" in receiver.events(), 10, "the change")
    assert all("X-Holdfast-Signature" not in headers for headers, _, _, _ in receiver.got)


def test_an_event_is_sent_again_until_it_is_taken_and_the_order_stays(server, start_holdfast, receive):
    receiver = receive(statuses=(500, 503))
    start_holdfast(server, connection=QUICK, top=notify(receiver.port, "database-connection-lost", "database-reconnected"))
    server.restart()
    wait_for(lambda: receiver.events() == ["database-connection-lost", "database-reconnected"], 20, "both events")
    assert [status for _, _, _, status in receiver.got] == [500, 503, 204, 204]
    assert len({headers["X-Holdfast-Id"] for headers, _, _, _ in receiver.got[:3]}) == 1


def test_a_receiver_that_is_down_is_told_when_it_is_back(server, start_holdfast, receive):
    port = free_port()
    start_holdfast(server, connection=QUICK, top=notify(port, "database-connection-lost"))
    server.restart()
    receiver = receive(port=port)
    wait_for(lambda: receiver.events() == ["database-connection-lost"], 20, "the event")


def test_an_answer_that_refuses_ends_the_attempts_and_is_logged_without_the_path(server, start_holdfast, receive):
    receiver = receive(statuses=(403,))
    proxy = start_holdfast(server, connection=QUICK, top=notify(receiver.port, "database-connection-lost", "database-reconnected"))
    proxy.secrets.add("path-secret")
    server.restart()
    proxy.wait_for_log(rf"warn notify: gave up telling http://127\.0\.0\.1:{receiver.port} of database-connection-lost: answered 403")
    wait_for(lambda: receiver.events() == ["database-reconnected"], 15, "the next event")


def test_a_receiver_that_never_answers_holds_up_nobody(server, start_holdfast, receive):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        receiver = receive()
        document = notify(silent.getsockname()[1])["notify"] + notify(receiver.port, "database-reconnected")["notify"]
        proxy = start_holdfast(server, connection=QUICK, top={"notify": document})
        client = proxy.connect()
        client.execute("SELECT 1")
        server.restart()
        assert client.execute("SELECT 2").fetchone() == (2,)
        wait_for(lambda: receiver.events() == ["database-reconnected"], 10, "the other receiver")
        begun = time.monotonic()
        client.close()
        proxy.terminate()
        assert time.monotonic() - begun < 5, "the end does not wait for it either"
