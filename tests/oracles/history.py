"""What the clients did and what they were told, and the counts of it. It judges single errors by the table, and no contents."""

import collections
import dataclasses
import threading
import time

LEVELS = ("read committed", "repeatable read", "serializable")
OK, FAILED, UNKNOWN = "acknowledged", "failed", "unknown"


@dataclasses.dataclass
class Transaction:
    """One transaction, or one statement outside of one. `ops` are the workload's: ("append", list, element), …"""

    number: int
    client: str
    program: str
    level: str
    started: float
    ended: float = 0.0
    outcome: str = FAILED
    ops: list = dataclasses.field(default_factory=list)


class Numbers:
    """Unique numbers for all clients, from 1."""

    def __init__(self):
        self._last, self._lock = 0, threading.Lock()

    def next(self):
        with self._lock:
            self._last += 1
            return self._last


class History:
    """The transactions of one workload by all clients."""

    def __init__(self):
        self.transactions = []
        self.numbers = Numbers()
        self.codes = collections.Counter()
        self.breaches = []  # what the table forbids

    @staticmethod
    def now():
        return time.monotonic()

    def begin(self, client, program, level="read committed"):
        return Transaction(self.numbers.next(), client, program, level, self.now())

    def end(self, transaction, outcome):
        transaction.ended, transaction.outcome = self.now(), outcome
        self.transactions.append(transaction)

    def breach(self, words):
        self.breaches.append(words)

    def refuse(self, transaction, error, moment, exactly_once):
        """Counts a driver's error at this moment (`statement`, `read`, `write`, `commit`) and ends the transaction with what it means.

        The table: 40001 (lost with its server, or the server's own) leaves nothing behind, and neither does a deadlock; 08007 only
        where something may commit, and never with the ledger; nothing else, and no connection is closed.
        """
        origin = "" if error.code != "40001" else " of holdfast" if error.by_holdfast else " of the server's own"
        self.codes[error.code + origin] += 1
        outcome = UNKNOWN if error.code == "08007" else FAILED
        may_commit = moment in ("write", "commit")
        allowed = error.code in ("40001", "40P01") or (error.code == "08007" and may_commit and not exactly_once)
        if error.closed or not allowed:
            wrote = any(op[0] in ("append", "transfer") for op in transaction.ops)
            self.breach(f"{transaction.client}, {transaction.program}, {moment}{'' if wrote else ', having only read'}:"
                        f" {error}{' (closed)' if error.closed else ''}")
            outcome = UNKNOWN if may_commit else FAILED
        self.end(transaction, outcome)

    def count(self, outcome):
        return sum(one.outcome == outcome for one in self.transactions)
