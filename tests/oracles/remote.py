"""A driver's connection as a process of its own, told what to do line by line: one for each client of the oracles."""

import os
import select
import shutil
import subprocess
import sys
import time
import pathlib

from support.postgres import CACHE

HERE = pathlib.Path(__file__).resolve().parent / "drivers"
BUILT = CACHE / "drivers" / "remote"
SEPARATOR = "\x1f"


class Refused(Exception):
    """The driver's error: its SQLSTATE (`none`: one of the driver's own), whether the connection is closed, its words."""

    def __init__(self, code, closed, words):
        super().__init__(f"{code}: {words}")
        self.code, self.closed, self.words = code, closed, words

    @property
    def by_holdfast(self):
        """A 40001 of the proxy's, not of the server's own concurrency control."""
        return "lost with its server" in self.words


class Silent(Exception):
    """The driver has not answered by its deadline, or it has ended."""


def _java():
    jars = sorted((CACHE / "drivers" / "jdbc").glob("postgresql-*.jar"))
    assert jars and (BUILT / "Remote.class").exists(), "pgjdbc: run deploy/install-dependencies"
    return [shutil.which("java"), "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx64m", "-cp", f"{BUILT}:{jars[-1]}", "Remote"]


def _go():
    assert (BUILT / "pgx").exists(), "pgx: run deploy/install-dependencies"
    return [str(BUILT / "pgx")]


DRIVERS = {"psycopg": lambda: [sys.executable, str(HERE / "remote.py")], "pgjdbc": _java, "pgx": _go}
# Which of them send several statements with arguments in one pipeline, all in one implicit transaction. pgjdbc's batches may be
# more than one; psycopg's are one, but 3.2.10 takes an error of the commit at the pipeline's end for one of its own and never
# recovers from it (so also on a direct connection, with a deferred constraint).
PIPELINES = ("pgx",)


class Remote:
    """One connection through `port` by one of DRIVERS. For one thread at a time."""

    def __init__(self, driver, port, deadline=90.0):
        self.driver, self.deadline = driver, deadline
        self._buffer = b""
        self._process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *DRIVERS[driver]()], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, env={**os.environ, "PORT": str(port)})

    def begin(self, level):
        self._ask("begin", level)

    def run(self, sql, *arguments):
        """One statement with whole numbers for its $1, $2, …; its rows, as tuples of text."""
        return self._ask("run", _statement((sql, *arguments)))

    def text(self, sql):
        """A text of several statements, without arguments."""
        self._ask("text", sql)

    def batch(self, *statements):
        """Statements as tuples of SQL and arguments, in one pipeline."""
        self._ask("batch", *map(_statement, statements))

    def commit(self):
        self._ask("commit")

    def rollback(self):
        self._ask("rollback")

    def close(self):
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process.stdout.close()

    def kill(self):
        self._process.kill()
        self._process.wait()

    def _ask(self, *words):
        try:
            self._process.stdin.write(("\t".join(words) + "\n").encode())
            self._process.stdin.flush()
        except OSError as error:
            raise Silent(f"{self.driver} has ended") from error
        word, *fields = self._line().split("\t")
        if word == "error":
            raise Refused(fields[0], fields[1] == "closed", fields[2])
        return [tuple(field.split(SEPARATOR)) for field in fields]

    def _line(self):
        end = time.monotonic() + self.deadline
        while b"\n" not in self._buffer:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                raise Silent(f"{self.driver}: no answer within {self.deadline:.0f} s")
            piece = os.read(self._process.stdout.fileno(), 65536)
            if not piece:
                raise Silent(f"{self.driver} has ended")
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()


def _statement(words):
    return SEPARATOR.join(map(str, words))
