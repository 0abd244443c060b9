"""The session of a command: which fields may stand beside which others, and running it in its transaction or as a retryable write."""

from bson import Int64

from support.mongo_model import sessions
from support.mongo_model.errors import CommandError
from support.mongo_model.session_key import HELLO, session_key

LEVELS = ("local", "majority", "linearizable", "available", "snapshot")
IGNORES_NUMBER = {"killSessions", "killAllSessions", "endSessions", "refreshSessions", "startSession"}
TAKES_NO_NUMBER = {"ping", "buildInfo", "whatsmyuri", *HELLO}


def read(op, found):
    """Takes lsid, txnNumber and their kin from a command; what a server refuses is an error."""
    doc = op.doc
    if doc.get("lsid") is not None:
        if len(getattr(op.connection, "users", ())) > 1 and op.name not in HELLO:
            raise CommandError(13, "logical sessions can't have multiple authenticated users")
        op.lsid = session_key(op, doc["lsid"])
    if "txnNumber" not in doc:
        if "startTransaction" in doc and "autocommit" not in doc:
            raise CommandError(72, "'startTransaction' field requires 'autocommit' field to also be specified")
        if "autocommit" in doc:
            raise CommandError(72, "'autocommit' field requires a transaction number to also be specified")
        if op.ending:
            raise CommandError(125, f"{op.name} must be run within a transaction")
        return
    if op.name in IGNORES_NUMBER and "autocommit" not in doc:
        return
    if op.lsid is None:
        raise CommandError(72, "Transaction number requires a session ID to also be specified")
    _transaction_fields(op, doc)
    if op.name in TAKES_NO_NUMBER and "autocommit" not in doc:
        raise CommandError(50889, "It is illegal to provide a txnNumber for this command")
    if op.member.kind == "standalone":
        raise CommandError(20, "Transaction numbers are only allowed on a replica set member or mongos")
    if "autocommit" not in doc:
        if not found.retryable:
            raise CommandError(50768, "txnNumber may only be provided for multi-document transactions and retryable write commands. "
                                      f"autocommit:false was not provided, and {op.name} is not a retryable write command.")
        op.retryable = True
    op.number = doc["txnNumber"]


def _transaction_fields(op, doc):
    if not isinstance(doc["txnNumber"], Int64):
        raise CommandError(14, "BSON field 'OperationSessionInfo.txnNumber' is the wrong type, expected type 'long'")
    if int(doc["txnNumber"]) < 0:
        raise CommandError(72, "Transaction number cannot be negative")
    if doc.get("autocommit") is True:
        raise CommandError(72, "Specifying autocommit=true is not allowed.")
    if doc.get("startTransaction") is False:
        raise CommandError(72, "Specifying startTransaction=false is not allowed.")
    if "startTransaction" in doc and "autocommit" not in doc:
        raise CommandError(72, "'startTransaction' field requires 'autocommit' field to also be specified")


async def run(op, found):
    """Runs the command plainly, as a retryable write, or in its transaction."""
    doc = op.doc
    if op.number is None:
        return await found.run(op)
    table = op.member.sessions
    if op.retryable:
        lock = table.get(op.lsid).lock
        await op.wait(lock.acquire())
        try:
            op.session = sessions.start_retryable(table, op.lsid, op.number)
            return await found.run(op)
        finally:
            lock.release()
    if op.ending:
        if doc.get("startTransaction"):
            raise CommandError(263, f"Cannot start a transaction with a {'commit' if op.name == 'commitTransaction' else 'abort'}")
        op.session = sessions.continue_transaction(table, op.lsid, op.number, op.name[:6].rstrip("T"))
        return await found.run(op)
    if not found.transaction:
        raise CommandError(263, f"Cannot run '{op.name}' in a multi-document transaction.")
    if op.database in ("admin", "local", "config"):
        raise CommandError(263, f"Cannot run command against the '{op.database}' database in a transaction.")
    if doc.get("startTransaction"):
        if op.name == "killCursors":
            raise CommandError(263, "Cannot run killCursors as the first operation in a multi-document transaction.")
        level = doc.get("readConcern", {}).get("level", "local")
        if level not in LEVELS:
            raise CommandError(9, "readConcern.level must be either 'local', 'majority', 'linearizable', 'available', or 'snapshot'")
        if level not in ("local", "majority", "snapshot"):
            raise CommandError(72, "The readConcern level must be either 'local' (default), 'majority' or 'snapshot' in order to run in a "
                                   "transaction")
        op.session = sessions.start_transaction(table, op.lsid, op.number, op.member.store)
    else:
        op.session = sessions.continue_transaction(table, op.lsid, op.number)
        if "readConcern" in doc and set(doc["readConcern"]) - {"afterClusterTime"}:
            raise CommandError(72, "Only the first command in a transaction may specify a readConcern")
    if "writeConcern" in doc:
        raise CommandError(72, "writeConcern is not allowed within a multi-statement transaction")
    op.transaction = op.session.transaction
    try:
        await op.wait(op.transaction.lock.acquire())
        try:
            document = await found.run(op)
            op.check()
        finally:
            op.transaction.lock.release()
    except CommandError:
        if op.session.transaction is op.transaction:
            table.close(op.session, "aborted")
        raise
    if document.get("writeErrors") and op.session.transaction is op.transaction:
        table.close(op.session, "aborted")
    return document
