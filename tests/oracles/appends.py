"""The append history: lists under known keys, to which unique numbers are appended and which are read back in transactions.

(The workload is that of Elle, "list-append"; append_check.py looks for what must not be in its history.)
"""

import collections
import threading

from oracles.history import LEVELS
from oracles.programs import Programs

TABLES = """
CREATE TABLE lists (key int PRIMARY KEY, elements bigint[] NOT NULL);
GRANT ALL ON lists TO PUBLIC;
"""

# Appends that a list gets before another key takes its place: a read gives all of it.
LENGTH, ACTIVE = 64, 8

APPEND = ("INSERT INTO lists (key, elements) VALUES ($1::int8, ARRAY[$2::int8])"
          " ON CONFLICT (key) DO UPDATE SET elements = lists.elements || excluded.elements")
# No function in it: whatever happens to it, it can only have read, and is never told 08007.
READ = "SELECT elements::text FROM lists WHERE key = $1::int8"
RETURNING = " RETURNING lists.elements::text"


class Keys:
    """The keys in use, the same for all clients."""

    def __init__(self):
        self._lock = threading.Lock()
        self._active, self._last = list(range(1, ACTIVE + 1)), ACTIVE
        self._appends = collections.Counter()

    def take(self, random, count):
        """Some keys in ascending order, so that no two transactions wait for each other in a circle."""
        with self._lock:
            return sorted(random.sample(self._active, count))

    def appended(self, key):
        with self._lock:
            self._appends[key] += 1
            if self._appends[key] == LENGTH and key in self._active:
                self._last += 1
                self._active[self._active.index(key)] = self._last


def elements(rows):
    """The list that a read gave; no row is an empty one."""
    return tuple(int(word) for word in rows[0][0].strip("{}").split(",")) if rows and rows[0][0] != "{}" else ()


class Appends(Programs):
    """One client's appends and reads."""

    def __init__(self, keys, *context):
        super().__init__(*context)
        self.keys = keys
        self.programs = [self.several] * 5 + [self.append_alone, self.read_alone]

    def _append(self, transaction, key, returning=False):
        element = self.history.numbers.next()
        transaction.ops.append(("append", key, element))
        self.keys.appended(key)
        rows = self.remote.run(APPEND + (RETURNING if returning else ""), key, element)
        if returning:
            transaction.ops.append(("read", key, elements(rows), transaction.started))

    def _read(self, transaction, key):
        # Under read committed each statement sees what was acknowledged before it, else the transaction what was so before it.
        since = self.history.now() if transaction.level == LEVELS[0] else transaction.started
        transaction.ops.append(("read", key, elements(self.remote.run(READ, key)), since))

    def several(self):
        transaction = self.history.begin(self.client, "appends and reads", self.random.choice(LEVELS))
        keys = self.keys.take(self.random, self.random.randint(1, 4))

        def body():
            for key in keys:
                for _ in range(self.random.choice((1, 1, 2))):
                    if self.random.random() < 0.5:
                        self._append(transaction, key, self.random.random() < 0.3)
                    else:
                        self._read(transaction, key)
        self.in_block(transaction, body)

    def append_alone(self):
        transaction = self.history.begin(self.client, "append")
        self.alone(transaction, "write", lambda: self._append(transaction, self.keys.take(self.random, 1)[0],
                                                              self.random.random() < 0.3))

    def read_alone(self):
        transaction = self.history.begin(self.client, "read")
        self.alone(transaction, "read", lambda: self._read(transaction, self.keys.take(self.random, 1)[0]))
