"""A server and one target in front of it, for the rows of the table; and the table itself, as Markdown and back."""

import re
import subprocess
import tempfile
import pathlib

from stage import HAPROXY, PGBOUNCER, program
from support import processes
from support.holdfast import Holdfast
from support.postgres import PostgresServer
from support.waiting import free_port, wait_for
from support.wire import WireClient
from survival_rows import PATIENCE, TABLES, Seen

# Name of the target: how its proxy is started.
TARGETS = ("holdfast", "pgbouncer session", "pgbouncer transaction", "HAProxy", "direct")
BEGIN, END = "<!-- bench/survival: from here on -->", "<!-- bench/survival: up to here -->"


class Stage:
    """A context manager: its end removes all. Every setting that is not named here is the program's own default."""

    def __init__(self, target):
        self.target = target
        self._clients = []
        self._proxy = self._process = None
        self._home = tempfile.TemporaryDirectory(prefix="holdfast-survival-")
        self.folder = pathlib.Path(self._home.name)
        self.folder.chmod(0o755)
        self.server = PostgresServer()

    def __enter__(self):
        try:
            self.server.start().prepare()
            self.server.query(TABLES)
            if self.target == "holdfast":
                self._proxy = Holdfast(self.server.uri(), connection={"read_only_functions": ["look"]})
                self.port = self._proxy.port
            elif self.target == "direct":
                self.port = self.server.port
            else:
                self._launch()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self._leave()
        if self._proxy:
            self._proxy.close()
        if self._process:
            self._process.terminate()
            self._process.wait()
        self.server.close()
        self._home.cleanup()

    def _launch(self):
        self.port = free_port()
        template = HAPROXY if self.target == "HAProxy" else PGBOUNCER
        if self.target == "pgbouncer transaction":
            template = template.replace("pool_mode = session", "pool_mode = transaction")
        (self.folder / "users.txt").write_text('"app" ""\n"postgres" ""\n')
        settings = self.folder / "settings"
        settings.write_text(template.format(listen="127.0.0.1", port=self.port, upstream=self.server.port, database="app", clients=50,
                                            folder=self.folder))
        command = ([program("haproxy"), "-db", "-f"] if self.target == "HAProxy" else [program("pgbouncer")]) + [str(settings)]
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(processes.unprivileged(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")

        def answers():
            WireClient(self.port).close()
            return True
        wait_for(answers, 15.0, f"{self.target} answers")

    # For the rows.

    def client(self, **words):
        client = WireClient(self.port, **words)
        self._clients.append(client)
        return client

    def wait_for_attempt(self, attempt):
        """Until the login that was begun is refused, or clearly waits: its connection is open and the server still down."""
        if self._proxy:
            self._proxy.wait_for_state("reconnecting", "failed")
        try:
            wait_for(lambda: attempt.is_done, 1.0)
        except AssertionError:
            pass

    def expect_ids(self, *wanted):
        found = sorted(number for number, in self.server.query("SELECT id FROM ids"))
        if found != sorted(wanted):
            raise Seen(f"told that it is done, and there is {found}")

    def run(self, row):
        """Takes a client through one row of survival_rows.ROWS; what it saw."""
        self.server.query("TRUNCATE ids, slow_to_commit")
        wait_for(self._serves, 2 * PATIENCE, f"{self.target} serves")
        try:
            row[2](self)
            return "T"
        except Seen as seen:
            return str(seen)
        except OSError:
            return "X"
        except AssertionError as problem:
            if str(problem).startswith("login failed"):
                return "refused"
            if not str(problem).startswith("no '"):
                raise
            return f"nothing within {PATIENCE:.0f} s"
        finally:
            self._leave()
            if not self.server.is_running:
                self.server.start()

    def _serves(self):
        with WireClient(self.port) as client:
            return client.query("SELECT 1", PATIENCE).rows == [("1",)]

    def _leave(self):
        for client in self._clients:
            client.close()
        self._clients = []


def markdown(rows, targets, seen):
    """The table; `seen` is {(target, moment): words}."""
    lines = ["| # | the server is lost while the client is | " + " | ".join(targets) + " |", "| --- " * (2 + len(targets)) + "|"]
    for number, moment, _ in rows:
        lines.append(f"| {number} | {moment} | " + " | ".join(seen[target, moment] for target in targets) + " |")
    return "\n".join(lines)


def document(text, table):
    """`text` with the table between its markers."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{rest.split(END)[1]}"


def committed(text, target):
    """{moment: words} of one target, as a document has it."""
    lines = [line.strip("| ") for line in re.search(f"{BEGIN}(.*){END}", text, re.DOTALL)[1].strip().splitlines()]
    column = re.split(r"\s*\|\s*", lines[0]).index(target)
    return {cells[1]: cells[column] for cells in (re.split(r"\s*\|\s*", line) for line in lines[2:])}
