"""Sessions and the ends of transactions."""

import uuid

from bson import Binary

from support.mongo_model.session_key import session_key
from support.mongo_model.errors import CommandError
from support.mongo_model.registry import WRITE, command


@command("startSession")
async def start_session(op):
    return {"id": {"id": Binary(uuid.uuid4().bytes, 4)}, "timeoutMinutes": 30}


@command("endSessions", "refreshSessions")
async def end_sessions(op):
    if not isinstance(op.doc[op.name], list):
        raise CommandError(10065, f"invalid parameter: expected an object ({op.name})")
    if op.name == "endSessions":
        for one in op.doc[op.name]:
            op.member.ended_sessions.add(session_key(op, one))
    return {}


@command("refreshLogicalSessionCacheNow")
async def refresh_sessions(op):
    """Cursors of sessions that were ended go now, not when the session is ended."""
    for key in op.member.ended_sessions:
        _end(op, key)
        for cursor in op.member.cursors.of_session(key):
            op.member.cursors.close(cursor.id)
    return {}


@command("killSessions", "killAllSessions", "killAllSessionsByPattern")
async def kill_sessions(op):
    wanted = [session_key(op, one) for one in op.doc[op.name] if "id" in one] if op.name == "killSessions" else []
    table = op.member.sessions
    for key in wanted or list(table.known):
        _end(op, key)
        for cursor in op.member.cursors.of_session(key):
            op.member.cursors.close(cursor.id)
        for other in list(op.member.operations):
            if other.lsid == key and other is not op:
                other.interrupt(11601, "operation was interrupted")
    return {}


def _end(op, key):
    table = op.member.sessions
    if key in table.known:
        table.close(table.known[key], "aborted")


async def _at_rest(op, transaction):
    """Waits for the statement under way. Who else waits for that is let by: what is done next is done at once."""
    await op.wait(transaction.lock.acquire())
    transaction.lock.release()


@command("commitTransaction", needs=WRITE, concern=True, admin=True)
async def commit_transaction(op):
    """Writes the transaction as one entry; again for a committed one only waits for the write concern."""
    session = op.session
    transaction = session.transaction
    if transaction:
        await _at_rest(op, transaction)
    if transaction and session.transaction is not transaction and (session.number, session.state) != (op.number, "committed"):
        raise CommandError(251, f"Transaction {op.number} has been aborted.")
    if transaction and session.transaction is transaction:
        operations = [*transaction.operations]
        table = op.member.sessions
        table.close(session, "committed")
        if operations:
            op.member.commit(operations, op, (op.lsid, op.number, "committed"))
        op.connection.last_optime = op.member.optime
        session.state = "committed"
    elif session.entry:
        op.entries.append(session.entry)
    return {}


@command("abortTransaction", needs=WRITE, concern=True, admin=True)
async def abort_transaction(op):
    transaction = op.session.transaction
    if transaction:
        await _at_rest(op, transaction)
    if op.session.transaction is not transaction or transaction is None:
        raise CommandError(251, f"Transaction {op.number} has been aborted.")
    op.member.sessions.close(op.session, "aborted")
    return {}
