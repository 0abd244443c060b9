"""The proxy under test as a process: its configuration written, started, asked, reloaded, stopped, its log kept and judged."""

import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

import psycopg
import yaml

from support import processes
from support.postgres import PASSWORDS
from support.waiting import free_port, wait_for
from support.wire import WireClient

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("HOLDFAST_BINARY", ROOT / "build" / "release" / "holdfast"))

# Without the proxy: clients talk to the server itself. What passes so without a fault shows that the equipment works.
DIRECT = os.environ.get("HOLDFAST_DIRECT") == "1"

# What no run may print, whatever it tests.
CRASHES = re.compile(r"AddressSanitizer|ThreadSanitizer|LeakSanitizer|runtime error:|terminate called|Assertion|"
                     r"Segmentation fault|core dumped|std::bad_alloc")


# With HOLDFAST_EXACTLY_ONCE=1 every proxy records commits, and every server has a ledger (`./test --long` runs the suite so, too).
EXACTLY_ONCE = os.environ.get("HOLDFAST_EXACTLY_ONCE") == "1"


def everywhere(connection):
    """Keys of every connection that does not exclude them."""
    possible = connection.get("replay") != "off" and connection.get("type") != "mongodb"
    return {"exactly_once": "on"} if EXACTLY_ONCE and possible else {}


def run_binary(*arguments, environment=None, timeout=15, wrapper=()):
    """Runs `holdfast` to its end, by the command `wrapper` if there is one; the CompletedProcess with text output."""
    return subprocess.run([*wrapper, str(BINARY), *map(str, arguments)], capture_output=True, text=True, timeout=timeout, check=False,
                          env={**_bare_environment(), **(environment or {})}, stdin=subprocess.DEVNULL)


def _bare_environment():
    return {name: value for name, value in processes.environment().items()
            if not name.startswith(("HOLDFAST_", "DB_", "PG"))}


class Holdfast:
    """A running proxy with one connection `main` to `upstream` (a URI), in front of which `port` listens.

    `connection` are keys of that connection, `top` keys of the file's top, `admin` keys of its section; `token` is what the admin port wants.
    `arguments` replaces the file altogether; `wrapper` are the words of a command that runs the program.
    """

    def __init__(self, upstream=None, connection=None, top=None, arguments=None, environment=None, wait=True, ready=True,
                 admin=None, admin_port=None, token=None, wrapper=()):
        self._home = tempfile.TemporaryDirectory(prefix="holdfast-")
        os.chmod(self._home.name, 0o755)
        self.folder = pathlib.Path(self._home.name)
        self.config_path = self.folder / "holdfast.yaml"
        self.log_path = self.folder / "holdfast.log"
        self.port = free_port()
        self.admin_port = admin_port or free_port()
        self.token = token
        self.upstream = upstream
        self.id = "main"
        self.secrets = set(PASSWORDS.values())
        self.clients = []
        self._expected_exit = 0
        self.document = {
            "admin": {"listen": f"127.0.0.1:{self.admin_port}", **(admin or {})},
            "drain_timeout": "2s",
            "connections": [{"id": self.id, "type": "postgres", "listen": f"127.0.0.1:{self.port}", "upstream": upstream,
                             "auth": "trust", **everywhere(connection or {}), **(connection or {})}],
            **(top or {}),
        }
        if arguments is None:
            self.write_config()
            arguments = ["run", "-c", str(self.config_path)]
        else:
            self.id = "default"
            arguments = [str(word).format(port=self.port, admin=self.admin_port) for word in arguments]
        if DIRECT:
            self.port = int(re.search(r":(\d+)/", upstream).group(1))
            self.process = None
            return
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *wrapper, str(BINARY), *arguments],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                            env={**_bare_environment(), **(environment or {})}, cwd=self.folder)
        if wait:
            try:
                self.wait_until_serving()
                if ready:
                    self.wait_for_state("connected")
            except BaseException:
                self.process.kill()
                raise

    # Its configuration.

    @property
    def connection_config(self):
        return self.document["connections"][0]

    def write_config(self, raw=None):
        """Writes the document, or the given text, to its file."""
        self.config_path.write_text(raw if raw is not None else yaml.safe_dump(self.document, sort_keys=False))

    def reload(self):
        """SIGHUP."""
        self.process.send_signal(signal.SIGHUP)

    # Its life.

    @property
    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def wait_until_serving(self, deadline=10.0):
        def serving():
            assert self.is_running, f"holdfast ended with {self.process.poll()}:\n{self.log()}"
            return self.admin("/healthz")[0] == 200
        wait_for(serving, deadline, "holdfast serves")

    def terminate(self, deadline=10.0):
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=deadline)

    def close(self):
        """Ends the proxy and judges it: exit code 0, no crash, no secret in what it printed."""
        for client in self.clients:
            try:
                client.close()
            except Exception:  # pylint: disable=broad-except
                pass
        try:
            if self.process is None:
                return
            if self.is_running:
                try:
                    self.terminate()
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.process.wait()
                    raise AssertionError(f"holdfast did not end within 10 s of SIGTERM:\n{self.log()[-4000:]}") from None
            code, log = self.process.returncode, self.log()
            assert code == self._expected_exit, f"holdfast ended with {code}:\n{log[-4000:]}"
            assert not CRASHES.search(log), f"holdfast crashed or misbehaved:\n{log[-4000:]}"
            told = [secret for secret in self.secrets if secret in log]
            assert not told, f"secrets in the log: {told}\n{log[-4000:]}"
        finally:
            self._home.cleanup()

    def expect_exit(self, code):
        """The test means this end: `close` accepts the exit code."""
        self._expected_exit = code

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def wait_for_log(self, pattern, deadline=10.0):
        return wait_for(lambda: re.search(pattern, self.log()), deadline, f"log line /{pattern}/")

    # Its admin port.

    def admin(self, path, body=None, method=None):
        """(status, text) of GET, or of POST (or `method`) where there is a body (an object)."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.admin_port}{path}", method=method)
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as answer:
            return answer.code, answer.read().decode()

    def state(self):
        """The connection's state object."""
        status, text = self.admin(f"/api/connection/status?connectionId={self.id}")
        assert status == 200, (status, text)
        return json.loads(text)

    def wait_for_state(self, *states, deadline=15.0):
        """Waits until the connection's state is one of these; nothing to wait for without the proxy."""
        if DIRECT:
            return None
        return wait_for(lambda: self.state()["state"] in states, deadline, f"state {' or '.join(states)}")

    def samples(self, name):
        """A metric's samples as pairs of labels and value, all of one moment."""
        status, text = self.admin("/metrics")
        assert status == 200
        lines = (re.match(r"([a-zA-Z_:]+)(?:\{(.*)\})? (\S+)$", line) for line in text.splitlines())
        return [(dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2] or "")), float(match[3]))
                for match in lines if match and match[1] == name]

    def metric(self, name, **labels):
        """The sum of a metric's samples with these labels; 0 where there is none."""
        return sum((value for found, value in self.samples(name)
                    if all(found.get(key) == wanted for key, wanted in labels.items())), 0.0)

    def disconnections(self):
        """How many clients were disconnected, other than by themselves."""
        return sum(value for labels, value in self.samples("holdfast_client_disconnections_total")
                   if labels["reason"] != "client")

    # Its clients.

    def dsn(self, user="app", dbname="app", **more):
        words = dict({"host": "127.0.0.1", "port": self.port, "user": user, "dbname": dbname, "sslmode": "disable",
                      "gssencmode": "disable", "connect_timeout": 30}, **more)
        return psycopg.conninfo.make_conninfo(**words)

    def connect(self, autocommit=True, **words):
        """A psycopg connection through the proxy, closed at the end of the test."""
        client = psycopg.connect(self.dsn(**words), autocommit=autocommit)
        self.clients.append(client)
        return client

    def wire(self, **words):
        """A raw connection through the proxy, closed at the end of the test."""
        client = WireClient(self.port, **words)
        self.clients.append(client)
        return client


class Background:
    """Runs a function in a thread; `result` gives its value, raises what it raised, or fails at a deadline in seconds."""

    def __init__(self, function, *arguments, **words):
        self._value = self._error = None
        self.started = time.monotonic()
        self.seconds = None

        def run():
            try:
                self._value = function(*arguments, **words)
            except BaseException as error:  # pylint: disable=broad-except
                self._error = error
            self.seconds = time.monotonic() - self.started

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    @property
    def is_done(self):
        return not self._thread.is_alive()

    def result(self, deadline=20.0):
        self._thread.join(deadline)
        assert self.is_done, f"no result within {deadline} s"
        if self._error is not None:
            raise self._error
        return self._value

    def error(self, kind=Exception, deadline=20.0):
        """The exception that it raised; a failure where it returned a value."""
        try:
            value = self.result(deadline)
        except kind as error:
            return error
        raise AssertionError(f"expected an error, got {value!r}")
