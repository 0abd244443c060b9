"""The stage of a benchmark: a throw-away PostgreSQL and, in front of it, pgbouncer, HAProxy and holdfast, all on free loopback ports.

It starts and ends them and knows their settings; it measures nothing. (All that it needs is the standard library and Debian's packages.)
"""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support import processes, wire  # noqa: E402
from support.waiting import free_port, wait_for  # noqa: E402

BINARIES = pathlib.Path("/usr/lib/postgresql/15/bin")
TARGETS = ("direct", "pgbouncer", "haproxy", "holdfast")
# Variants of holdfast, measured where `--only` names them.
VARIANTS = {"replay_off": {"replay": "off"}, "ledger": {"exactly_once": "on"}}
USER, PASSWORD, DATABASE = "bench", "bench", "bench"
LISTEN = "127.0.0.1"

# Without fsync the disk has no say: what is left is the processor, which is what a proxy takes away. `bench/run` vacuums.
SETTINGS = {
    "fsync": "off",
    "shared_buffers": "512MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
    "logging_collector": "off",
    "listen_addresses": f"'{LISTEN}'",
}

PGBOUNCER = """\
[databases]
{database} = host={listen} port={upstream} dbname={database}
[pgbouncer]
listen_addr = {listen}
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users.txt
pool_mode = session
default_pool_size = {clients}
max_client_conn = {clients}
log_connections = 0
log_disconnections = 0
ignore_startup_parameters = extra_float_digits
"""

HAPROXY = """\
global
  nbthread 1
  maxconn {clients}
defaults
  mode tcp
  timeout connect 10s
  timeout client 1h
  timeout server 1h
listen postgres
  bind {listen}:{port} maxconn {clients}
  server postgres {listen}:{upstream} maxconn {clients}
"""


class Missing(Exception):
    """A program is not on this machine; the text names it."""


def program(name):
    """The path of a program, also of those that Debian keeps in sbin."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not path:
        raise Missing(f"{name} is not installed: run deploy/install-dependencies, or leave it out with --only")
    return path


def check(targets, holdfast):
    """Raises Missing where a program that these targets need is not there."""
    if not (BINARIES / "postgres").exists():
        raise Missing(f"{BINARIES}/postgres is not installed: run deploy/install-dependencies")
    for name in targets:
        if name in ("holdfast", *VARIANTS) and not os.access(holdfast, os.X_OK):
            raise Missing(f"{holdfast} does not exist: build it, name another with --holdfast, or leave it out with --only")
        if name in ("pgbouncer", "haproxy"):
            program(name)


def environment():
    """The caller's environment without what would change how a client, a server or the proxy behaves."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HOLDFAST_", "DB_", "PG"))}
    return {**kept, "PGSSLMODE": "disable", "PGGSSENCMODE": "disable", "PGCONNECT_TIMEOUT": "30", "LC_ALL": "C"}


def read_exactly(connection, length):
    """`length` bytes of a socket; an early end raises."""
    data = b""
    while len(data) < length:
        piece = connection.recv(length - len(data))
        if not piece:
            raise ConnectionError("the connection ended in the middle of an answer")
        data += piece
    return data


class Session:
    """One session over plain TCP without a password, for as long as it is not closed; it reads no result, only the ends of answers."""

    def __init__(self, port):
        self._socket = socket.create_connection((LISTEN, port), timeout=30)
        self._ask(wire.startup(USER, DATABASE))

    def query(self, sql):
        self._ask(wire.query(sql))

    def send(self, sql):
        """Sends a query whose answer is for `finish` to read."""
        self._socket.sendall(wire.query(sql))

    def finish(self):
        self._read_answer()

    def close(self):
        with contextlib.suppress(OSError):
            self._socket.sendall(wire.TERMINATE)
        self._socket.close()

    def _ask(self, request):
        self._socket.sendall(request)
        self._read_answer()

    def _read_answer(self):
        """Reads to ReadyForQuery; an ErrorResponse or an early end raises."""
        kind = b""
        while kind != b"Z":
            head = read_exactly(self._socket, 5)
            kind, body = head[:1], read_exactly(self._socket, int.from_bytes(head[1:], "big") - 4)
            if kind == b"E":
                raise ConnectionError(str(wire.ServerError(body)))


class Targets:
    """Processes on ports of their own, by name, each with a log in one folder: `direct` is the server, the others stand in front of it.

    A context manager: its end removes all. What derives from it starts the server, and knows when a target answers.
    """

    def __init__(self, clients_max, holdfast):
        """`clients_max` clients fit through each proxy at once; `holdfast` is the path of the binary."""
        self.clients_max = clients_max
        self.holdfast = pathlib.Path(holdfast).resolve()
        self._home = tempfile.TemporaryDirectory(prefix="holdfast-bench-")
        self.folder = pathlib.Path(self._home.name)
        self.folder.chmod(0o755)
        self._running = {}
        self.ports = {}

    def __enter__(self):
        try:
            self._start_server()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in sorted(self._running, key=lambda name: name == "direct"):
            self.close(name)
        self._home.cleanup()

    def close(self, name):
        """Ends a process at once: neither the server's files nor a proxy's sessions are needed any more."""
        process = self._running.pop(name)
        process.send_signal(signal.SIGQUIT if name == "direct" else signal.SIGTERM)
        try:
            process.wait(timeout=10 if name == "direct" else 2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def pid(self, name):
        """The process whose processor time and memory count for a target; None for `direct`, where there is no proxy."""
        return None if name == "direct" else self._running[name].pid

    def _launch(self, name, command):
        with open(self.folder / f"{name}.log", "ab") as log:
            self._running[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                                                   env=environment())

    def _wait_until(self, name, answers):
        """Waits until `answers` is true of the target; its log tells why it is not."""
        try:
            wait_for(answers, 15.0, f"{name} answers", 0.1)
        except AssertionError as error:
            log = (self.folder / f"{name}.log").read_text(errors="replace")
            raise RuntimeError(f"{error}\n{log[-3000:]}") from None

    def _run_holdfast(self, name, upstream, settings):
        return ["setpriv", "--pdeathsig", "KILL", "--", str(self.holdfast), "run", "--upstream", upstream,
                "--listen", f"{LISTEN}:{self.ports[name]}", "--admin", "off", "--set", "connections.default.auth=trust",
                "--set", f"connections.default.max_clients={self.clients_max + 20}",
                *(word for key, value in settings.items() for word in ("--set", f"connections.default.{key}={value}"))]


class Stage(Targets):
    """A PostgreSQL server with a database `bench`, and the proxies that `open` puts in front of it."""

    def open(self, name):
        """Starts a target and waits until a query passes through it. `direct` is the server itself, which runs already."""
        if name == "direct":
            return
        self.ports[name] = free_port()
        command = self._holdfast_command(name, VARIANTS[name]) if name in VARIANTS else getattr(self, f"_{name}_command")()
        if name == "ledger":
            sql = subprocess.run([str(self.holdfast), "ledger"], check=True, capture_output=True, text=True).stdout
            self.run("psql", "-q", "-c", sql, DATABASE)
        self._launch(name, command)
        self._wait_until_answering(name)

    def run(self, binary, *arguments):
        """Runs one of PostgreSQL's client programs on the server itself."""
        done = subprocess.run([str(BINARIES / binary), "-h", LISTEN, "-p", str(self.ports["direct"]), "-U", USER, *arguments],
                              capture_output=True, text=True, env=environment(), check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{binary} {' '.join(arguments)} failed:\n{done.stderr}")
        return done.stdout

    def _start_server(self):
        data = self.folder / "data"
        data.mkdir(mode=0o700)
        processes.give_away(self.folder)
        subprocess.run(processes.unprivileged([str(BINARIES / "initdb"), "-D", str(data), "-U", USER, "-A", "trust", "-E", "UTF8",
                                               "--locale=C", "--no-sync"]), check=True, capture_output=True, cwd="/")
        self.ports["direct"] = free_port()
        # pgbouncer keeps its connections when its clients have gone, so the next target's come on top.
        settings = {**SETTINGS, "port": self.ports["direct"], "max_connections": 2 * self.clients_max + 50,
                    "unix_socket_directories": f"'{self.folder}'"}
        (data / "postgresql.auto.conf").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
        self.launch_server()
        wait_for(lambda: self.run("psql", "-c", "SELECT 1", "postgres"), 30.0, "PostgreSQL accepts", 0.1)
        self.run("createdb", DATABASE)

    def launch_server(self):
        """Starts the server's processes; it does not accept yet."""
        self._launch("direct", processes.unprivileged([str(BINARIES / "postgres"), "-D", str(self.folder / "data")]))

    def _wait_until_answering(self, name):
        def answers():
            session = Session(self.ports[name])
            session.query("SELECT 1")
            session.close()
            return True
        self._wait_until(name, answers)

    def _written(self, name, template):
        """The path of a proxy's settings, written from its template."""
        path = self.folder / f"{name}.conf"
        path.write_text(template.format(listen=LISTEN, port=self.ports[name], upstream=self.ports["direct"], database=DATABASE,
                                        clients=self.clients_max + 20, folder=self.folder))
        return path

    def _pgbouncer_command(self):
        (self.folder / "users.txt").write_text(f'"{USER}" "{PASSWORD}"\n')
        return processes.unprivileged([program("pgbouncer"), str(self._written("pgbouncer", PGBOUNCER))])

    def _haproxy_command(self):
        return processes.unprivileged([program("haproxy"), "-db", "-f", str(self._written("haproxy", HAPROXY))])

    def _holdfast_command(self, name="holdfast", settings=None):
        upstream = f"postgres://{USER}:{PASSWORD}@{LISTEN}:{self.ports['direct']}/{DATABASE}?sslmode=disable"
        return self._run_holdfast(name, upstream, settings or {})
