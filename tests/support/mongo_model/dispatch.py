"""Runs one command on a member: login, fail points, role, session and transaction, the command itself, write concern, labels."""

import asyncio
import traceback

from bson import Int64, Timestamp

from support.mongo_model import commands, sessions, write_concern  # noqa: F401  (commands registers itself)
from support.mongo_model.errors import NOT_PRIMARY, RESUMABLE, CommandError, DropConnection, code_name, labels_for
from support.mongo_model.operation import Operation
from support.mongo_model.registry import COMMANDS, DATA, READ, WRITE
from support.mongo_model.session_key import session_key

LEVELS = ("local", "majority", "linearizable", "available", "snapshot")
SNAPSHOT_READS = ("find", "aggregate", "distinct", "getMore")
WITH_TOPOLOGY = NOT_PRIMARY - {10058}
IGNORES_NUMBER = {"killSessions", "killAllSessions", "endSessions", "refreshSessions", "startSession"}
TAKES_NO_NUMBER = {"ping", "isMaster", "ismaster", "hello", "buildInfo", "whatsmyuri"}
HELLO = ("hello", "isMaster", "ismaster")


async def run(member, connection, request):
    """(reply document, operation) for a request to a member or a mongos."""
    if member.kind == "mongos":
        from support.mongo_model import router
        return await router.run(member, connection, request)
    return await execute(member, connection, request)


async def before_routing(op):
    """What a mongos does itself: login and its own fail points."""
    found = COMMANDS.get(op.name)
    if found and found.login and op.member.cluster.settings.auth and not op.connection.user:
        raise CommandError(13, f"command {op.name} requires authentication")
    injected = await _fail_point(op)
    if injected and "errorCode" in injected:
        raise CommandError(int(injected["errorCode"]), "Failing command via 'failCommand' failpoint",
                           **({"errorLabels": injected["errorLabels"]} if "errorLabels" in injected else {}))


async def execute(member, connection, request):
    """Runs it on this very member."""
    doc = request.doc
    name = next(iter(doc), "")
    op = Operation(member, connection, name, doc)
    op.request = request
    member.operations.add(op)
    member.counts[name] += 1
    try:
        document = await _run(op, request)
    except CommandError as error:
        document = _failed(op, error)
    except (DropConnection, asyncio.CancelledError):
        raise
    except Exception as error:  # pylint: disable=broad-except
        # A fault of the model's own: tests look at its standard error.
        traceback.print_exc()
        document = CommandError(1, f"the model failed: {type(error).__name__}: {error}").fields()
    finally:
        member.operations.discard(op)
    gossip(member, document)
    return document, op


async def _run(op, request):
    member, name = op.member, op.name
    found = COMMANDS.get(name)
    stages = op.doc.get("pipeline")
    op.is_change_stream = name == "aggregate" and isinstance(stages, list) and "$changeStream" in (stages[:1] or [()])[0]
    if "$db" not in op.doc:
        raise CommandError(40571, "OP_MSG requests require a $db argument")
    database = op.doc["$db"]
    if not isinstance(database, str):
        raise CommandError(13111, "wrong type for field ($db)")
    if not database or "." in database or len(database) > 63:
        raise CommandError(73, f"Invalid database name: '{database}'")
    if found is None:
        raise CommandError(59, f"no such command: '{name}'")
    if request.opcode == 2004 and request.wanted not in (1, -1):
        raise CommandError(16979, f"Bad numberToReturn ({request.wanted}) for $cmd type ns - can only be 1 or -1")
    if member.dying in (11600, 91):
        raise CommandError(member.dying, "interrupted at shutdown" if member.dying == 11600 else "The server is in quiesce mode and will shut down")
    if found.login and member.cluster.settings.auth and not op.connection.user:
        raise CommandError(13, f"command {name} requires authentication")
    if found.admin and op.database != "admin":
        raise CommandError(13, f"{name} may only be run against the admin database.")
    _read_times(op)
    injected = await _fail_point(op)
    _session_fields(op, found)
    op.writes = found.needs == WRITE
    if isinstance(injected, dict) and "errorCode" in injected:
        raise CommandError(int(injected["errorCode"]), "Failing command via 'failCommand' failpoint", labels=injected.get("errorLabels"),
                           **({"errorInfo": injected["errorInfo"]} if "errorInfo" in injected else {}))
    if found.concern:
        write_concern.check(op)
    concern = op.doc.get("readConcern")
    if isinstance(concern, dict) and concern.get("level") == "snapshot" and op.doc.get("autocommit") is not False and op.name not in SNAPSHOT_READS:
        raise CommandError(72, f"{op.name} does not support read concern level snapshot")
    _role(op, found)
    await _cluster_time(op)
    try:
        document = await _in_session(op, found)
    except CommandError as error:
        if found.concern and error.code in (26, 48):
            problem = await write_concern.wait(op)
            error.more.update({"writeConcernError": problem} if problem else {})
        raise
    if injected and "writeConcernError" in injected:
        document["writeConcernError"] = injected["writeConcernError"]
    elif found.concern and not op.doc.get("autocommit") is False or op.ending:
        problem = await write_concern.wait(op)
        if problem:
            document["writeConcernError"] = problem
    document = {**document, "ok": 1.0}
    if found.concern and write_concern.is_none(op) and op.doc.get("autocommit") is None and op.name in ("insert", "update", "delete"):
        document = {"ok": 1.0}
    _label(op, document, injected)
    return _replaced(op, document)


def _read_times(op):
    limit = op.doc.get("maxTimeMS")
    if "maxTimeMS" in op.doc and (not isinstance(limit, (int, float)) or limit < 0):
        raise CommandError(2, "maxTimeMS must be a number that is not negative")
    if limit and op.name not in HELLO + ("getMore",):
        op.deadline = op.started + int(limit) / 1000


async def _fail_point(op):
    data = op.member.fail_points.hit(op.name, op.connection)
    if not data:
        return None
    if data.get("blockConnection"):
        await op.wait(asyncio.sleep(data.get("blockTimeMS", 0) / 1000))
    if data.get("closeConnection"):
        raise DropConnection
    return data


def _session_fields(op, found):
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


MODES = ("primary", "primaryPreferred", "secondary", "secondaryPreferred", "nearest")


def _role(op, found):
    member = op.member
    preference = op.doc.get("$readPreference", {})
    if not isinstance(preference, dict):
        raise CommandError(14, "$readPreference has incorrect type: expected object")
    mode = preference.get("mode", "primary")
    if mode not in MODES:
        raise CommandError(2, f"Could not parse $readPreference mode '{mode}'")
    if found.needs == WRITE and op.database != "local" and (not member.writable):
        if member.stepping_down and op.number is not None:
            raise CommandError(11602, "a stepdown process started, can't checkout sessions except for killing")
        if member.stepping_down and op.name in ("insert", "update", "delete"):
            return
        raise CommandError(10107, "not master")
    if found.needs == DATA and not member.readable and op.database != "local":
        raise CommandError(13436, "node is not in primary or recovering state")
    if found.needs == READ and not member.writable:
        if op.doc.get("autocommit") is False:
            raise CommandError(10107, "not master")
        if member.role == "primary":  # draining or stepping down
            if mode == "primary":
                raise CommandError(13435, "not master and slaveOk=false")
        elif op.database == "local":
            return
        elif mode == "primary":
            raise CommandError(13435, "not master and slaveOk=false")
        elif not member.readable:
            raise CommandError(13436, "node is not in primary or recovering state")


async def _cluster_time(op):
    member = op.member
    gossip = op.doc.get("$clusterTime")
    if isinstance(gossip, dict) and isinstance(gossip.get("clusterTime"), Timestamp) and member.in_set:
        member.cluster.clock.advance(gossip["clusterTime"])
    concern = op.doc.get("readConcern")
    after = concern.get("afterClusterTime") if isinstance(concern, dict) else None
    if after is not None and member.kind == "standalone":
        raise CommandError(20, "Cannot specify afterClusterTime readConcern without replication enabled")
    if not isinstance(after, Timestamp) or not member.in_set:
        return
    if after > member.cluster.clock.now:
        raise CommandError(72, "readConcern afterClusterTime value must not be greater than the current clusterTime. "
                               f"Requested clusterTime: {after}; current clusterTime: {member.cluster.clock.now}")
    while not _has_time(member, after):
        await op.wait(member.progress.next(), 0.1)


def _has_time(member, after):
    if member.optime["ts"] >= after or member.role == "primary":
        return True
    leader = member.cluster.primary()
    return leader is not None and member.cluster.reach(member, leader) and member.log[-1:] == leader.log[-1:]


async def _in_session(op, found):
    doc = op.doc
    if op.number is None:
        return await found.run(op)
    table = op.member.sessions
    if op.retryable:
        op.session = sessions.start_retryable(table, op.lsid, op.number)
        return await found.run(op)
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
            raise CommandError(72, "The readConcern level must be either 'local' (default), 'majority' or 'snapshot' in order to run in a transaction")
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
    except CommandError as error:
        if op.session.transaction is op.transaction:
            table.close(op.session, "aborted")
        raise
    if document.get("writeErrors") and op.session.transaction is op.transaction:
        table.close(op.session, "aborted")
    return document


def _label(op, document, injected=None):
    """Adds what a mongod adds."""
    concern = document.get("writeConcernError", {}).get("code")
    labels = list(injected["errorLabels"]) if injected and "errorLabels" in injected else None
    if labels is None:
        labels = labels_for(document.get("code"), concern, in_transaction=op.doc.get("autocommit") is False and op.number is not None,
                            ends_transaction=op.ending, retryable=op.retryable)
    if labels:
        document["errorLabels"] = labels
    if concern in WITH_TOPOLOGY and op.member.in_set:
        document["topologyVersion"] = op.member.topology_version()


def error_reply(member, error):
    """The document for an error that has no operation: a message that could not be read."""
    document = error.fields()
    if member.in_set:
        document["operationTime"] = member.optime["ts"]
        document["$clusterTime"] = cluster_time(member)
    return document


def _failed(op, error):
    document = {}
    probe = {"code": error.code}
    _label(op, probe, {} if error.labels is None else {"errorLabels": error.labels})
    labels = probe.get("errorLabels", [])
    if error.code in (280, 286):
        labels = labels + ["NonResumableChangeStreamError"]
    elif op.is_change_stream and error.code in RESUMABLE and "ResumableChangeStreamError" not in labels:
        labels = labels + ["ResumableChangeStreamError"]
    if labels:
        document["errorLabels"] = labels
    if error.code in WITH_TOPOLOGY and op.member.in_set:
        document["topologyVersion"] = op.member.topology_version()
    document.update(error.fields())
    return document


def _replaced(op, document):
    """A fault of the test's: the command was executed, but something else is answered."""
    for fault in op.member.faults["after"]:
        if op.name in fault["commands"] and fault["times"] > 0:
            fault["times"] -= 1
            if fault["form"] == "close":
                raise DropConnection
            error = {"code": fault["code"], "codeName": code_name(fault["code"]), "errmsg": "operation was interrupted"}
            if fault["form"] == "writeErrors":
                return {**document, "n": 0, "writeErrors": [{"index": 0, **error}]}
            if fault["form"] == "writeConcernError":
                document = {**document, "writeConcernError": error}
                _label(op, document)
                return document
            raise CommandError(fault["code"], "operation was interrupted")
    return document


def cluster_time(member):
    return {"clusterTime": member.cluster.clock.now, "signature": {"hash": b"\0" * 20, "keyId": Int64(0)}}


def gossip(member, document):
    """Adds operationTime and $clusterTime."""
    if not member.in_set or member.role == "arbiter":
        return
    document.setdefault("operationTime", member.optime["ts"])
    document.setdefault("$clusterTime", cluster_time(member))
