"""Runs one command on a member: login, fail points, role, session and transaction, the command itself, write concern, labels."""

import asyncio
import traceback

from bson import Int64

from support.mongo_model import commands, serving, session_fields, write_concern  # noqa: F401  (commands registers itself)
from support.mongo_model.errors import NOT_PRIMARY, RESUMABLE, CommandError, DropConnection, code_name, labels_for
from support.mongo_model.operation import Operation
from support.mongo_model.registry import COMMANDS, WRITE
from support.mongo_model.session_key import HELLO

SNAPSHOT_READS = ("find", "aggregate", "distinct", "getMore")
WITH_TOPOLOGY = NOT_PRIMARY - {10058}


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
        words = "interrupted at shutdown" if member.dying == 11600 else "The server is in quiesce mode and will shut down"
        raise CommandError(member.dying, words)
    if found.login and member.cluster.settings.auth and not op.connection.user:
        raise CommandError(13, f"command {name} requires authentication")
    if found.admin and op.database != "admin":
        raise CommandError(13, f"{name} may only be run against the admin database.")
    _read_times(op)
    injected = await _fail_point(op)
    session_fields.read(op, found)
    op.writes = found.needs == WRITE
    if isinstance(injected, dict) and "errorCode" in injected:
        raise CommandError(int(injected["errorCode"]), "Failing command via 'failCommand' failpoint",
                           labels=injected.get("errorLabels"), **({"errorInfo": injected["errorInfo"]} if "errorInfo" in injected else {}))
    if found.concern:
        write_concern.check(op)
    concern = op.doc.get("readConcern")
    is_snapshot = isinstance(concern, dict) and concern.get("level") == "snapshot" and op.doc.get("autocommit") is not False
    if is_snapshot and op.name not in SNAPSHOT_READS:
        raise CommandError(72, f"{op.name} does not support read concern level snapshot")
    serving.check_role(op, found)
    await serving.wait_for_time(op)
    try:
        document = await session_fields.run(op, found)
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
        op.limit(int(limit) / 1000)


async def _fail_point(op):
    data = op.member.fail_points.hit(op.name, op.connection)
    if not data:
        return None
    if data.get("blockConnection"):
        await op.wait(asyncio.sleep(data.get("blockTimeMS", 0) / 1000))
    if data.get("closeConnection"):
        raise DropConnection
    return data


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
