"""The end of a pod, with the test as the kubelet: SIGTERM, grace period, SIGKILL. The application's last queries succeed."""

import signal
import subprocess
import sys
import time

import pytest

from support.waiting import wait_for

# An application with two habits: it writes until it is told to end, and at its end it opens a connection that it did not have.
APPLICATION = """
import signal, sys, psycopg
ending = []
signal.signal(signal.SIGTERM, lambda number, frame: ending.append(number))
dsn, last = sys.argv[1], int(sys.argv[2])
written = 0
with psycopg.connect(dsn, autocommit=True) as client:
    while not ending:
        client.execute("INSERT INTO last_words VALUES (%s)", (f"while it ran {written}",))
        written += 1
        if written == 1:
            print("started", flush=True)
    for number in range(last):
        with client.transaction():
            client.execute("SELECT pg_sleep(0.02)")
            client.execute("INSERT INTO last_words VALUES (%s)", (f"after SIGTERM {number}",))
with psycopg.connect(dsn, autocommit=True) as fresh:
    fresh.execute("INSERT INTO last_words VALUES ('on a new connection')")
print(written, flush=True)
"""


class Pod:
    """The two containers and the kubelet's order of ending them. `grace` is terminationGracePeriodSeconds."""

    def __init__(self, proxy, grace, last=50):
        self.proxy, self.grace = proxy, grace
        self.application = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-c", APPLICATION, proxy.dsn(), str(last)],
                                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.application.stdout.readline() == "started\n", self.application.stderr.read()

    def end_as_native_sidecar(self):
        """Kubernetes 1.29 and later: the sidecar is told to end when the application's containers have ended."""
        started = time.monotonic()
        self.application.terminate()
        self.application.wait(timeout=self.grace)
        self.proxy.process.send_signal(signal.SIGTERM)
        self.proxy.process.wait(timeout=self.grace - (time.monotonic() - started))
        return time.monotonic() - started

    def end_proxy_first(self):
        """The worst order of containers that are told at the same time: before 1.29, or in docker compose."""
        started = time.monotonic()
        self.proxy.process.send_signal(signal.SIGTERM)
        wait_for(lambda: self.proxy.admin("/readyz")[0] == 503, 5, "holdfast has got it")
        with self.proxy.wire():  # or holdfast ends between the application's connections
            self.application.terminate()
            self.application.wait(timeout=self.grace)
        self.proxy.process.wait(timeout=self.grace - (time.monotonic() - started))
        return time.monotonic() - started


@pytest.fixture
def table(server):
    server.query("CREATE TABLE last_words (word text)")
    server.query("GRANT ALL ON last_words TO PUBLIC")
    yield lambda: [word for word, in server.query("SELECT word FROM last_words")]
    server.query("DROP TABLE last_words")


@pytest.mark.parametrize("end", (Pod.end_as_native_sidecar, Pod.end_proxy_first))
def test_every_query_of_an_ending_application_succeeds_and_nobody_needs_sigkill(server, start_holdfast, table, end):
    proxy = start_holdfast(server, top={"drain_timeout": "25s"})
    pod = Pod(proxy, grace=30)
    end(pod)
    output, errors = pod.application.communicate()
    assert pod.application.returncode == 0, errors
    assert proxy.process.returncode == 0
    words = table()
    assert sum(word.startswith("while it ran") for word in words) == int(output)
    assert sum(word.startswith("after SIGTERM") for word in words) == 50
    assert words.count("on a new connection") == 1


def test_an_application_that_does_not_end_does_not_keep_holdfast_beyond_the_grace_period(server, start_holdfast, table):
    proxy = start_holdfast(server, top={"drain_timeout": "2s"})
    pod = Pod(proxy, grace=5)
    pod.application.send_signal(signal.SIGSTOP)  # it will not notice its SIGTERM
    started = time.monotonic()
    proxy.process.send_signal(signal.SIGTERM)
    try:
        assert proxy.process.wait(timeout=pod.grace) == 0
        assert 1.8 < time.monotonic() - started
    finally:
        pod.application.kill()
        pod.application.communicate()


def test_an_ending_pod_still_holds_its_clients_through_the_loss_of_the_server(server, start_holdfast, table):
    proxy = start_holdfast(server, top={"drain_timeout": "25s"})
    client = proxy.wire()
    client.query("SET search_path = extra")
    proxy.process.send_signal(signal.SIGTERM)
    wait_for(lambda: proxy.admin("/readyz")[0] == 503, 5, "it ends")
    server.restart("kill9")
    assert client.value("SHOW search_path") == "extra"
    client.close()
    assert proxy.process.wait(timeout=10) == 0
