"""One member: what it keeps on disk (its log), what its process holds in memory, its listener, and how the process ends."""

import asyncio
import collections
import itertools
import time

from bson import Int64, ObjectId

from support.mongo_model.connection import Connection
from support.mongo_model.cursors import Cursors
from support.mongo_model.failpoints import FailPoints
from support.mongo_model.journal import Entry
from support.mongo_model.pulse import Pulse
from support.mongo_model.sessions import Sessions
from support.mongo_model.store import Store

PRIMARY, SECONDARY, RECOVERING, ARBITER, STANDALONE, MONGOS = "primary", "secondary", "recovering", "arbiter", "standalone", "mongos"
STEPDOWN_WORDS = "operation was interrupted"


class Member:
    """A mongod of the model. `cluster` is the set it belongs to; a standalone is a set of one that does not say so."""

    def __init__(self, cluster, index, port, kind):
        self.cluster = cluster
        self.index = index
        self.address = f"{cluster.host}:{port}"
        self.port = port
        self.kind = kind
        self.log = []
        self.term = 0
        self.running = False
        self.frozen = False
        self.isolated = False
        self.hold = False
        self.connection_numbers = itertools.count(1)
        self.faults = {"delay": [], "cut": None, "after": []}
        self.compressed = {}
        self._server = None
        self._reset()

    def _reset(self):
        """What a new process begins with."""
        self.role = self.kind if self.kind in (STANDALONE, ARBITER, MONGOS) else SECONDARY
        self.draining = False
        self.stepping_down = False
        self.dying = None
        self.process_id = ObjectId()
        self.counter = 0 if self.kind in (STANDALONE, MONGOS) else 6
        self.primary_view = None
        self.no_primary_since = time.monotonic()
        self.no_majority_since = None
        self.not_before = 0.0
        self.silent_until = 0.0
        self.commit_length = 0
        self.acked = {}
        self.store = Store()
        self.sessions = Sessions()
        self.cursors = Cursors()
        self.fail_points = FailPoints()
        self.operations = set()
        self.connections = set()
        self.topology = Pulse()
        self.progress = Pulse()
        self.gate = asyncio.Event()
        self.gate.set()
        self.started = time.time()
        self.routes = {}
        self.ended_sessions = set()
        self.transactions = {}
        self.begun = set()
        self.counts = collections.Counter()

    # What it is

    @property
    def alive(self):
        return self.running and not self.frozen and time.monotonic() >= self.silent_until

    @property
    def in_set(self):
        return self.kind not in (STANDALONE, MONGOS)

    @property
    def writable(self):
        return self.kind in (STANDALONE, MONGOS) or self.role == PRIMARY and not self.draining and not self.stepping_down

    @property
    def readable(self):
        """Whether it serves reads to who asks with a read preference."""
        return self.role in (PRIMARY, SECONDARY, STANDALONE, MONGOS)

    @property
    def optime(self):
        return self.log[-1].optime if self.log else {"ts": self.cluster.epoch, "t": Int64(-1)}

    @property
    def election_id(self):
        return ObjectId("7fffffff" + f"{max(self.term, 0):016x}") if self.in_set else ObjectId("0" * 24)

    def topology_version(self):
        return {"processId": self.process_id, "counter": Int64(self.counter)}

    def changed(self, by=1):
        self.counter += by
        self.topology.fire()

    # Its process

    async def start(self):
        """A new process on the old port, with the log that the last one left."""
        if self.running:
            return
        log = self.log
        self._reset()
        for index, entry in enumerate(log):
            self._apply(entry)
            if entry.session and index < self.cluster.history_from:
                self.sessions.forget(entry)
        self._server = await asyncio.start_server(self._accept, self.cluster.host, self.port, backlog=1024, reuse_address=True,
                                                  ssl=self.cluster.settings.tls)
        self.running = True

    async def _accept(self, reader, writer):
        if not self.running:  # accepted by a process that has died since
            writer.transport.abort()
            return
        connection = Connection(self, reader, writer, next(self.connection_numbers))
        self.connections.add(connection)
        try:
            await connection.serve()
        finally:
            self.connections.discard(connection)

    async def end(self, reset=True):
        """The process is gone: nobody listens, every connection is reset (or closed with FIN)."""
        if not self.running:
            return
        self.running = False
        self.frozen = False
        self._server.close()
        self.sessions.abort_all()
        for connection in list(self.connections):
            connection.drop(reset)
        for connection in list(self.connections):
            connection.cancel()
        await asyncio.sleep(0)

    def freeze(self):
        self.frozen = True
        self._set_gate()

    def thaw(self, silent):
        """Goes on; for `silent` seconds it does what waits in its sockets before it hears of the others."""
        self.frozen = False
        self.silent_until = time.monotonic() + silent
        self._set_gate()

    def isolate(self, isolated, clients=False):
        self.isolated = isolated
        self.clients_cut = isolated and clients
        self._set_gate()

    clients_cut = False

    def _set_gate(self):
        if self.frozen or self.clients_cut:
            self.gate.clear()
        else:
            self.gate.set()

    # Its log

    def commit(self, operations, op=None, session=None, replacement=False):
        """Applies operations as the primary (or a standalone), writes the entry, and hands it to the others."""
        history = self.cluster.history
        entry = Entry(history.next_number(), self.cluster.clock.tick(), self.term, self.index, tuple(operations),
                      op.name if op else "", session, replacement=replacement)
        self._append(entry)
        if operations:
            history.add(entry)
        if op:
            op.entries.append(entry)
        self.cluster.replicate(self)
        return entry

    def _append(self, entry):
        self.log.append(entry)
        self._apply(entry)

    def _apply(self, entry):
        for operation in entry.operations:
            self.store.apply(operation)
            if operation[0] == "c":
                self.cursors.dropped(operation[1])
        self.sessions.applied(entry)
        self.progress.fire()

    def pull(self, source):
        """Takes over the log of the primary; what the primary does not have is rolled back."""
        common = self.common_length(source)
        if common < len(self.log):
            self._roll_back(common)
        for entry in source.log[common:]:
            self._append(entry)

    def common_length(self, other):
        low, high = 0, min(len(self.log), len(other.log))
        if high == 0 or self.log[high - 1] is other.log[high - 1]:
            return high
        while low < high:
            middle = (low + high + 1) // 2
            if self.log[middle - 1] is other.log[middle - 1]:
                low = middle
            else:
                high = middle - 1
        return low

    def _roll_back(self, length):
        for entry in self.log[length:]:
            entry.rolled_back = True
        log, self.log = self.log[:length], []
        self.sessions.abort_all()
        self.store, self.sessions = Store(), Sessions()
        self.commit_length = min(self.commit_length, length)
        for entry in log:
            self._append(entry)
        self.cursors.kill_all()
        for connection in list(self.connections):
            if connection.said_hello:
                connection.drop(reset=False)
        self.changed()

    def majority_store(self):
        """The data that a majority has: what readConcern majority sees."""
        if not self.in_set or self.commit_length >= len(self.log):
            return self.store
        return self.built(self.log[:self.commit_length])

    @property
    def committed_time(self):
        """The time of the newest entry that a majority has."""
        return self.log[min(self.commit_length, len(self.log)) - 1].ts if self.commit_length else self.cluster.epoch

    def store_at(self, time_of):
        """The data as it was at a cluster time."""
        return self.built([entry for entry in self.log if entry.ts <= time_of])

    @staticmethod
    def built(entries):
        """The data that these entries make, of a log from its beginning."""
        store = Store()
        for entry in entries:
            for operation in entry.operations:
                store.apply(operation)
        return store

    # Its role

    def become_primary(self, term):
        self.term = term
        self.role = PRIMARY
        self.draining = True
        self.primary_view = self.index
        self.no_majority_since = None
        self.acked = {}
        self.changed()

    def finish_drain(self):
        self.draining = False
        self.commit(())
        self.changed(2)

    def step_down(self, known_primary=None):
        """Becomes a secondary: interrupts writes and transactions, keeps every connection and cursor."""
        self.role = SECONDARY
        self.draining = self.stepping_down = False
        self.primary_view = known_primary
        self.no_primary_since = time.monotonic()
        for op in list(self.operations):
            if op.writes or op.transaction or op.waits_for_concern:
                op.interrupt(11602, STEPDOWN_WORDS)
        self.sessions.abort_all()
        self.changed(2)
        self.progress.fire()

    def see_primary(self, index):
        if index != self.primary_view:
            self.primary_view = index
            if index is None:
                self.no_primary_since = time.monotonic()
            # A server tells hello's waiters of a new primary, but not that the old one is gone.
            if index is not None:
                self.changed()
