"""Two real servers, one following the other synchronously, a relay in front of each, and holdfast in front of both.

It knows how to do each kind of harm and how to make all well again; when which is done is for the schedule.
"""

import pathlib
import subprocess
import tempfile
import threading

from support import processes
from support.holdfast import Holdfast, run_binary
from support.postgres import PostgresServer
from support.relay import Relay
from support.waiting import wait_for

# A minute must hold many faults: partitions are noticed early, and nobody gives up.
RECONNECT = {"retry_delay": "50ms", "max_delay": "300ms", "max_retries": 10000, "connection_timeout": "5s", "hang_timeout": "1s",
             "hold_timeout": "80s"}
SETTINGS = {"wal_keep_size": "1GB", "wal_retrieve_retry_interval": "100ms", "wal_receiver_status_interval": "1s"}


class Stage:
    """`relays[0]` leads to `servers[0]`, and so on; `primary` is the number of the one that takes writes."""

    def __init__(self, tables, exactly_once="off", version="debian"):
        self.servers, self.relays, self.primary, self.proxy = [], [], 0, None
        try:
            first = PostgresServer(version, SETTINGS)
            self.servers.append(first)
            first.start().prepare()
            first.query(tables)
            if exactly_once == "on":
                first.query(run_binary("ledger").stdout)
            self.servers.append(self._follower(first))
            self.relays = [Relay(server.port) for server in self.servers]
            self._wait_for_follower()
            addresses = ",".join(f"127.0.0.1:{relay.port}" for relay in self.relays)
            self.proxy = Holdfast(f"postgres://app@{addresses}/app?sslmode=disable&target_session_attrs=read-write", wait=False,
                                  connection={"exactly_once": exactly_once, "reconnect": RECONNECT})
            self.proxy.wait_until_serving()
            self.proxy.wait_for_state("connected", deadline=30.0)
        except BaseException:
            self.close()
            raise

    @property
    def server(self):
        return self.servers[self.primary]

    @property
    def relay(self):
        return self.relays[self.primary]

    def close(self):
        """Ends all of it; the proxy is judged by its exit code and its log."""
        try:
            if self.proxy:
                self.proxy.close()
        finally:
            for each in self.relays + self.servers:
                each.close()

    # Following.

    def _follower(self, leader):
        """A new server that follows `leader` synchronously from now on: no commit is acknowledged that it has not written."""
        with tempfile.TemporaryDirectory(prefix="holdfast-backup-") as home:
            processes.give_away(home)
            copy = pathlib.Path(home) / "data"
            subprocess.run(processes.unprivileged([str(leader.bin / "pg_basebackup"), "-D", str(copy), "-c", "fast", "-X", "stream",
                                                   "-h", "127.0.0.1", "-p", str(leader.port), "-U", "postgres", "--no-sync"]),
                           check=True, capture_output=True, cwd="/")
            settings = dict(SETTINGS, primary_conninfo=f"'host=127.0.0.1 port={leader.port} user=postgres'", hot_standby="on")
            follower = PostgresServer(leader.version, settings, _copy_of=copy)
        (follower.data / "standby.signal").touch()
        processes.give_away(follower.data)
        follower.start()
        leader.set(synchronous_standby_names="'*'")
        leader.reload()
        return follower

    def _wait_for_follower(self):
        """Until the follower has all that the leader has: what became visible by a crash alone may wait for it still."""
        wait_for(lambda: self.server.query("SELECT sync_state = 'sync' AND flush_lsn >= pg_current_wal_flush_lsn()"
                                           " FROM pg_stat_replication") == [(True,)], 60.0, "the standby has everything")

    # Harm. Each returns when the primary accepts again.

    def restart(self, how, pause):
        """The primary ends (kill9, kill9_all, fast, immediate) and starts again after `pause` seconds."""
        self.server.end(how)
        rest(pause)
        self.server.start()

    def kill_backend(self, random):
        """kill -9 of one client's backend: the server ends all others and recovers."""
        pids = self.server.backends()
        if pids:
            self.server.kill9_backend(random.choice(pids))

    def fail_over(self, pause):
        """The primary is gone for good, its standby takes over, and a new standby follows that one."""
        self._wait_for_follower()
        lost, old = self.primary, self.server
        old.kill9_all()
        rest(pause)
        self.primary = 1 - lost
        self.server.set(synchronous_standby_names="''")
        self.server.promote()
        self.servers[lost] = self._follower(self.server)
        self.relays[lost].target_port = self.servers[lost].port
        old.close()

    def partition(self, pause, heals):
        """Nothing passes and nothing is closed; then the old connections go on where they were, or are cut."""
        self.relay.black_hole()
        rest(pause)
        if not heals:
            self.relay.cut()
        self.relay.black_hole(False)

    def freeze(self, pause):
        """Every process of the primary is stopped (SIGSTOP), and goes on."""
        self.server.freeze()
        rest(pause)
        self.server.thaw()

    def crash_while_commits_wait(self, pause):
        """The standby stops, commits wait for it, and the primary dies and comes back: they are there and nobody was told."""
        follower = self.servers[1 - self.primary]
        follower.freeze()
        try:
            rest(pause)
            self.server.end("kill9_all")
        finally:
            follower.thaw()
        self.server.start()

    def cut(self, reset):
        """Every connection to the primary is closed, or reset, at once."""
        self.relay.cut(reset)

    def cut_after(self, count, direction):
        """So many bytes more, in the middle of whatever that is."""
        self.relay.cut_after(count, direction)


def rest(seconds):
    """A time that the schedule has drawn: the length of an outage, which nothing else decides."""
    threading.Event().wait(seconds)
