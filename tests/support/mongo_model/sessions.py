"""Sessions of one member: which statements a session has executed, and its transaction. Knows no sockets and no command.

What was written comes from the journal and so outlives the process; an open transaction lives in memory only.
"""

import asyncio
import uuid

from support.mongo_model.errors import CommandError, Locked
from support.mongo_model.values import sort_key

UNKNOWN = -1


class Transaction:
    """An open transaction: a snapshot with its own changes on top, and the documents that it holds."""

    def __init__(self, store, number):
        self.store = store.snapshot()
        self.base = store
        self.seen = {name: (one, dict(one.documents)) for name, one in store.collections.items()}
        self.number = number
        self.operations = []
        self.held = set()
        self.cursors = set()
        self.done = asyncio.get_running_loop().create_future()
        self.lock = asyncio.Lock()

    def finish(self):
        if not self.done.done():
            self.done.set_result(None)


class Session:
    """What a member knows of one (lsid, user)."""

    def __init__(self):
        self.number = UNKNOWN
        self.state = "none"  # none, retryable, open, committed, aborted
        self.statements = {}
        self.transaction = None
        self.entry = None
        self.incomplete = False
        self.lock = asyncio.Lock()  # held by the retryable write under way


class Sessions:
    """The sessions of one member by (id, user digest)."""

    def __init__(self):
        self.known = {}
        self.locks = {}

    def get(self, key):
        return self.known.setdefault(key, Session())

    def applied(self, entry):
        """Takes over what an entry says of its session."""
        if not entry.session:
            return
        key, number, statements = entry.session
        session = self.get(key)
        if session.number != number:
            self.close(session, "aborted")
            session.number, session.statements, session.incomplete = number, {}, False
        if statements == "committed":
            session.state, session.entry = "committed", entry
        else:
            session.state = "retryable"
            session.statements.update({one: (outcome, entry) for one, outcome in statements.items()})

    def forget(self, entry):
        """The entry is too old to be found again: a retry can no longer be answered."""
        session = self.get(entry.session[0])
        session.statements, session.incomplete = {}, session.state == "retryable"

    def lock(self, transaction, namespace, identity, current):
        """Holds one document for a transaction, or fails with 112 as a server does at once."""
        if transaction.done.done():  # ended by another connection while this statement was under way: nobody would let go again
            raise CommandError(251, f"Transaction {transaction.number} has been aborted.")
        key = (namespace, sort_key(identity))
        holder = self.locks.get(key)
        before = transaction.seen.get(namespace)
        seen = before[1].get(key[1]) if before else None
        if holder not in (None, transaction) or holder is None and current is not seen:
            raise CommandError(112, "WriteConflict error: this operation conflicted with another operation. "
                                    "Please retry your operation or multi-document transaction.")
        self.locks[key] = transaction
        transaction.held.add(key)

    def check_unlocked(self, namespace, identity):
        """A plain write waits for the transaction that holds its document."""
        holder = self.locks.get((namespace, sort_key(identity)))
        if holder:
            raise Locked(holder)

    def close(self, session, state):
        """Ends the open transaction of a session, if there is one."""
        transaction, session.transaction = session.transaction, None
        if transaction:
            for key in transaction.held:
                self.locks.pop(key, None)
            transaction.finish()
            session.state = state

    def abort_all(self):
        """What a step down or a rollback does to open transactions: nothing is left that another node would know."""
        for session in self.known.values():
            if session.transaction:
                self.close(session, "aborted")


def too_old(session, key, number):
    kind = "retryable write" if session.state == "retryable" else "transaction"
    shown = uuid.UUID(bytes=key[0])
    return CommandError(225, f"Cannot start transaction {number} on session {shown} - {key[1]} because a newer {kind} with txnNumber "
                             f"{session.number} has already started on this session.")


def no_such(session, number):
    return CommandError(251, f"Given transaction number {number} does not match any in-progress transactions. "
                             f"The active transaction number is {session.number}")


def start_transaction(sessions, key, number, store):
    session = sessions.get(key)
    if number < session.number:
        raise too_old(session, key, number)
    if number == session.number:
        raise CommandError(117, "Only servers in a sharded cluster can start a new transaction at the active transaction number")
    sessions.close(session, "aborted")
    session.number, session.state, session.statements, session.entry = number, "open", {}, None
    session.transaction = Transaction(store, number)
    return session


def continue_transaction(sessions, key, number, ending=None):
    """The session whose transaction goes on; `ending` is "commit" or "abort" for the command that ends it."""
    session = sessions.get(key)
    if number < session.number:
        raise too_old(session, key, number)
    if number > session.number or session.state in ("none", "retryable"):
        raise no_such(session, number)
    if session.state == "committed" and ending != "commit":
        raise CommandError(256, f"Transaction {number} has been committed.")
    if session.state == "aborted":
        raise CommandError(251, f"Transaction {number} has been aborted.")
    return session


def start_retryable(sessions, key, number):
    """The session of a retryable write: its `statements` say what was executed under this number."""
    session = sessions.get(key)
    if number < session.number:
        raise too_old(session, key, number)
    if number > session.number:
        sessions.close(session, "aborted")
        session.number, session.state, session.statements, session.entry = number, "retryable", {}, None
        session.incomplete = False
    elif session.incomplete:
        raise CommandError(217, f"Incomplete history detected for transaction {number} on session {key[0].hex()}")
    elif session.state != "retryable":
        raise CommandError(217, "Cannot retry a retryable write that has been converted into a transaction")
    return session
