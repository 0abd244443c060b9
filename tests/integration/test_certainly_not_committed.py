"""What the proxy takes for certain, hammered on the server itself: FATAL 57P01 that comes before CommandComplete of a simple
query means that nothing of it was committed, at whatever moment the backend was told to end.

No proxy is in between: this is about PostgreSQL. `--kills N` says how many kills each case gets: 10,000 before a release.
"""

import itertools
import random
import threading

import pytest
from psycopg import pq

from support.waiting import wait_for

pytestmark = [pytest.mark.versions, pytest.mark.fault_free]
CLIENTS = 6


def run(connection, sql):
    """(whether CommandComplete came, the SQLSTATE of an error, whether a warning came before it)."""
    warned = []
    connection.notice_handler = lambda result: warned.append(result.error_field(pq.DiagnosticField.SQLSTATE))
    connection.send_query(sql.encode())
    complete, code = False, None
    while (result := connection.get_result()) is not None:
        if result.status == pq.ExecStatus.COMMAND_OK:
            complete = True
        elif result.status == pq.ExecStatus.FATAL_ERROR and not code:  # libpq's own "closed unexpectedly" may follow
            code = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
    return complete, code, bool(warned)


class Hammer:
    """Clients that write one row after the other, and somebody who ends their backends at random moments."""

    def __init__(self, server, block, kills):
        self.server, self.block, self.kills = server, block, kills
        self.numbers, self.lock = itertools.count(1), threading.Lock()
        self.confirmed, self.certain, self.unknown, self.pids = [], [], [], {}
        self.over = threading.Event()
        self.problems = []

    def client(self, who):
        try:
            while not self.over.is_set():
                connection = pq.PGconn.connect(self.server.dsn("app").encode())
                if connection.status != pq.ConnStatus.OK:
                    continue
                self.pids[who] = connection.backend_pid
                while not self.over.is_set() and self.write(connection):
                    pass
                connection.finish()
        except Exception as problem:  # pylint: disable=broad-except
            self.problems.append(problem)

    def write(self, connection):
        """One row; False when the connection is gone."""
        number = next(self.numbers)
        statements = [f"INSERT INTO ids VALUES ({number})"]
        if self.block:
            statements = ["BEGIN", *statements, "COMMIT"]
        for sql in statements:
            complete, code, warned = run(connection, sql)
            if code is None and complete:
                continue
            if complete and sql == statements[-1]:
                self.confirmed.append(number)
            elif code == "57P01" and not warned:
                self.certain.append(number)
            else:
                self.unknown.append(number)
            return False
        self.confirmed.append(number)
        return True

    def run(self):
        threads = [threading.Thread(target=self.client, args=(who,)) for who in range(CLIENTS)]
        for thread in threads:
            thread.start()
        with self.server.connect() as killer:
            done = 0
            while done < self.kills and not self.problems:
                pid = self.pids.pop(random.choice(list(self.pids) or [None]), None)
                if pid is None:
                    continue
                # A random number of statements goes by before it.
                for _ in range(random.randrange(3)):
                    killer.execute("SELECT 1")
                done += bool(killer.execute("SELECT pg_terminate_backend(%s::int)", (pid,)).fetchone()[0])
        self.over.set()
        for thread in threads:
            thread.join(30)
        assert not self.problems, self.problems


@pytest.mark.parametrize("block", (False, True), ids=("autocommit", "commit"))
def test_a_fatal_before_command_complete_means_not_committed(server, request, block):
    kills = request.config.getoption("--kills")
    hammer = Hammer(server, block, kills)
    hammer.run()
    wait_for(lambda: not server.query("SELECT 1 FROM pg_stat_activity WHERE usename = 'app'"), 20, "all backends are gone")
    there = {number for (number,) in server.query("SELECT id FROM ids")}
    assert not there & set(hammer.certain), "it was committed although the server had said FATAL before"
    assert not set(hammer.confirmed) - there, "it was confirmed and is not there"
    print(f"{kills} kills: {len(hammer.certain)} certain, {len(hammer.unknown)} unknown, {len(hammer.confirmed)} confirmed")
    assert len(hammer.certain) > kills // 50, "the kills missed the statements"
