"""Runs one command on a member: login, fail points, role, session and transaction, the command itself, write concern, labels."""

import asyncio

from bson import Binary, Int64, Timestamp

from support.mongo_model import commands, sessions, write_concern  # noqa: F401  (commands registers itself)
from support.mongo_model.errors import NOT_PRIMARY, RESUMABLE, SHUTDOWN, CommandError, DropConnection, code_name, labels_for
from support.mongo_model.operation import Operation
from support.mongo_model.registry import COMMANDS, READ, WRITE
from support.mongo_model.session_key import session_key

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
                           **({"errorLabels": injected["errorLabels"]} if injected.get("errorLabels") else {}))


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
    finally:
        member.operations.discard(op)
    if name not in HELLO or document.get("ok") != 1.0:
        _gossip(member, op, document)
    return document, op


async def _run(op, request):
    member, name = op.member, op.name
    found = COMMANDS.get(name)
    if "$db" not in op.doc:
        raise CommandError(40571, "OP_MSG requests require a $db argument")
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
        raise CommandError(int(injected["errorCode"]), "Failing command via 'failCommand' failpoint", labels=injected.get("errorLabels", ()),
                           **({"errorInfo": injected["errorInfo"]} if "errorInfo" in injected else {}))
    _role(op, found)
    await _cluster_time(op)
    document = await _in_session(op, found)
    if injected and "writeConcernError" in injected:
        document["writeConcernError"] = injected["writeConcernError"]
    elif found.concern and not op.doc.get("autocommit") is False or op.ending:
        problem = await write_concern.wait(op)
        if problem:
            document["writeConcernError"] = problem
    document = {**document, "ok": 1.0}
    _label(op, document, injected)
    return _replaced(op, document)


def _read_times(op):
    limit = op.doc.get("maxTimeMS")
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
    lsid = doc.get("lsid")
    if lsid is not None:
        if not isinstance(lsid, dict) or not isinstance(lsid.get("id"), (bytes, Binary)) or len(lsid["id"]) != 16:
            raise CommandError(14, "lsid.id must be a UUID")
        op.lsid = session_key(op, lsid)
    if "txnNumber" not in doc:
        if "autocommit" in doc or "startTransaction" in doc:
            raise CommandError(72, "'autocommit' field requires a transaction number to also be specified")
        if op.ending:
            raise CommandError(125, f"{op.name} must be run within a transaction")
        return
    if op.lsid is None:
        raise CommandError(72, "Transaction number requires a session ID to also be specified")
    op.number = doc["txnNumber"]
    if int(op.number) < 0:
        raise CommandError(72, "Transaction number cannot be negative")
    if doc.get("autocommit") is True:
        raise CommandError(72, "Specifying autocommit=true is not allowed.")
    if "startTransaction" in doc and "autocommit" not in doc:
        raise CommandError(72, "'startTransaction' field requires 'autocommit' field to also be specified")
    if "autocommit" not in doc:
        if not found.retryable:
            raise CommandError(50768, "txnNumber may only be provided for multi-document transactions and retryable write commands. "
                                      f"autocommit:false was not provided, and {op.name} is not a retryable write command.")
        op.retryable = True
    if op.member.kind == "standalone":
        raise CommandError(20, "Transaction numbers are only allowed on a replica set member or mongos")


def _role(op, found):
    member = op.member
    if found.needs == WRITE and op.database != "local" and (not member.writable):
        if member.stepping_down and op.number is not None:
            raise CommandError(11602, "a stepdown process started, can't checkout sessions except for killing")
        if member.stepping_down and op.name in ("insert", "update", "delete"):
            return
        raise CommandError(10107, "not master")
    if found.needs == READ and not member.writable:
        if op.doc.get("autocommit") is False:
            raise CommandError(10107, "not master")
        preference = op.doc.get("$readPreference", {})
        mode = preference.get("mode", "primary") if isinstance(preference, dict) else "primary"
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
    if doc.get("startTransaction"):
        level = doc.get("readConcern", {}).get("level", "local")
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
        if error.code not in (72, 59) and op.session.transaction is op.transaction:
            table.close(op.session, "aborted")
        raise
    if document.get("writeErrors") and op.session.transaction is op.transaction:
        table.close(op.session, "aborted")
    return document


def _label(op, document, injected=None):
    """Adds what a mongod adds."""
    concern = document.get("writeConcernError", {}).get("code")
    labels = list(injected.get("errorLabels", ())) if injected else None
    if labels is None:
        labels = labels_for(document.get("code"), concern, in_transaction=op.doc.get("autocommit") is False and op.number is not None,
                            ends_transaction=op.ending, retryable=op.retryable)
    if labels:
        document["errorLabels"] = labels


def error_reply(member, error):
    """The document for an error that has no operation: a message that could not be read."""
    document = error.fields()
    if member.in_set:
        document["operationTime"] = member.optime["ts"]
        document["$clusterTime"] = cluster_time(member)
    return document


def _failed(op, error):
    document = {}
    given = list(error.labels)
    probe = {"code": error.code}
    if not (given or error.more.get("injected")):
        _label(op, probe)
    labels = given or probe.get("errorLabels", [])
    if op.is_change_stream and error.code in RESUMABLE and "ResumableChangeStreamError" not in labels:
        labels = labels + ["ResumableChangeStreamError"]
    if labels:
        document["errorLabels"] = labels
    if (error.code in NOT_PRIMARY or error.code in SHUTDOWN) and op.member.in_set:
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


def _gossip(member, op, document):
    if not member.in_set or member.role == "arbiter":
        return
    document.setdefault("operationTime", member.optime["ts"])
    document.setdefault("$clusterTime", cluster_time(member))
