"""A mongos of the model: answers hello itself and sends everything else to the set behind it, as far as drivers can tell the difference.

It retries what is idempotent to a mongos three times, hides state-change errors as code 6, and keeps cursors with their member.
"""

import asyncio
import re

from support.mongo_model import dispatch
from support.mongo_model.errors import NOT_PRIMARY, RETRYABLE, SHUTDOWN, CommandError, DropConnection
from support.mongo_model.operation import Operation
from support.mongo_model.registry import COMMANDS, READ, WRITE

OWN = {"hello", "isMaster", "ismaster", "ping", "buildInfo", "buildinfo", "whatsmyuri", "isdbgrid", "getParameter", "configureFailPoint",
       "startSession", "endSessions", "refreshSessions", "serverStatus", "getLog", "getCmdLineOpts", "hostInfo", "connectionStatus",
       "saslStart", "saslContinue", "logout", "shutdown", "setParameter"}
ATTEMPTS = 3
SELECTION_SECONDS = 20.0


class Inside:
    """The connection of a mongos to one member: it has no socket of its own."""

    def __init__(self, outside):
        self.number = outside.number
        self.peer = outside.peer
        self.user = outside.user
        self.app_name = outside.app_name
        self.exhaust = None
        self.last_optime = None


async def run(member, connection, request):
    """(reply document, operation) of a request to a mongos."""
    name = next(iter(request.doc), "")
    if name in OWN:
        return await dispatch.execute(member, connection, request)
    op = Operation(member, connection, name, request.doc)
    op.request = request
    member.operations.add(op)
    try:
        await dispatch.before_routing(op)
        document, inner = await _routed(op, request)
    except CommandError as error:
        document, inner = error.fields(), op
    finally:
        member.operations.discard(op)
    document.setdefault("operationTime", member.cluster.clock.now)
    document.setdefault("$clusterTime", dispatch.cluster_time(member))
    return document, inner


async def _routed(op, request):
    found = COMMANDS.get(op.name)
    if found is None:
        raise CommandError(59, f"no such command: '{op.name}'" if "$db" in op.doc else "OP_MSG requests require a $db argument")
    in_transaction = op.doc.get("autocommit") is False
    if in_transaction and op.doc.get("startTransaction"):
        # Begun is begun, whatever becomes of the statement that begins it.
        if not {"lsid", "txnNumber"} <= op.doc.keys():
            raise CommandError(72, "startTransaction needs a session and a number")
        if _key(op) in op.member.begun:
            raise CommandError(117, f"txnNumber {op.doc['txnNumber']} is already started")
        op.member.begun.add(_key(op))
    can_retry = not op.doc.get("startTransaction") and (
        op.ending or not in_transaction and (found.needs == READ and op.name != "getMore" or found.retryable and "txnNumber" in op.doc))
    for attempt in range(ATTEMPTS):
        target = await _target(op, found)
        document, inner = await _ask(op, target, request)
        code = document.get("code", document.get("writeConcernError", {}).get("code"))
        if code not in RETRYABLE or not can_retry or attempt == ATTEMPTS - 1:
            break
        await asyncio.sleep(op.member.cluster.settings.heartbeat)
    _remember(op, target, document)
    return _hidden(op, found, document), inner


async def _ask(op, target, request):
    """Asks one member; a member that dies in the meantime is a network error."""
    if target is None:
        raise CommandError(133, "Could not find host matching read preference { mode: \"primary\" } for set "
                                + op.member.cluster.settings.set_name)
    doc = dict(request.doc)
    doc.pop("recoveryToken", None)
    inside = type(request)(**{**request.__dict__, "doc": doc, "flags": 0})
    asking = asyncio.ensure_future(dispatch.execute(target, Inside(op.connection), inside))
    try:
        while not asking.done():
            if not target.running:
                asking.cancel()
                return CommandError(6, "Error on remote host: Connection closed by peer").fields(), op
            await asyncio.wait({asking}, timeout=0.05)
        return asking.result()
    except DropConnection:
        return CommandError(6, "Connection closed by peer").fields(), op


async def _target(op, found):
    """The member for a command: that of its cursor or transaction, a member by read preference, or the primary."""
    cluster, doc = op.member.cluster, op.doc
    if op.name == "getMore":
        number = op.member.routes.get(int(doc["getMore"]))
        if number is None:
            raise CommandError(43, f"Cursor not found (namespace: '{op.database}.{doc.get('collection')}', id: {doc['getMore']}).")
        return cluster.members[number]
    token = doc.get("recoveryToken", {}).get("recoveryShardId")
    if op.ending and "txnNumber" in doc and _key(op) not in op.member.transactions and token is None:
        raise CommandError(50940, "cannot commit with no participants")
    mode = doc.get("$readPreference", {}).get("mode", "primary")
    end = asyncio.get_running_loop().time() + SELECTION_SECONDS
    if doc.get("maxTimeMS"):
        op.deadline = op.started + doc["maxTimeMS"] / 1000
    while asyncio.get_running_loop().time() < end:
        op.check()
        primary = cluster.primary()
        primary = primary if primary and primary.writable and not primary.frozen else None
        others = [one for one in cluster.data_members() if one.alive and one.role == "secondary"]
        if found.needs != READ or mode == "primary" or doc.get("autocommit") is False:
            choice = primary
        elif mode in ("secondary", "secondaryPreferred"):
            choice = next(iter(others), primary if mode != "secondary" else None)
        else:
            choice = primary or next(iter(others), None)
        if choice:
            return choice
        await asyncio.sleep(0.01)
    return None


def _key(op):
    return bytes(op.doc["lsid"]["id"]), int(op.doc["txnNumber"])


def _remember(op, target, document):
    cursor = document.get("cursor")
    if isinstance(cursor, dict) and cursor.get("id"):
        op.member.routes[int(cursor["id"])] = target.index
    if op.doc.get("autocommit") is False and "txnNumber" in op.doc and document.get("ok") == 1.0:
        written = op.member.transactions.get(_key(op), False) or op.name in ("insert", "update", "delete", "findAndModify")
        op.member.transactions[_key(op)] = written
        document["recoveryToken"] = {"recoveryShardId": "shard0"} if written else {}


def _scrubbed(error):
    if error.get("code") in NOT_PRIMARY | SHUTDOWN:
        error["code"] = 6
        error["codeName"] = "HostUnreachable"
        words = re.sub(r"not master|not primary", "(NOT_PRIMARY)", error.get("errmsg", ""))
        error["errmsg"] = words.replace("node is recovering", "(NODE_IS_RECOVERING)")


def _hidden(op, found, document):
    """A write's error comes back inside ok:1 writeErrors; state changes as code 6; no RetryableWriteError of a shard."""
    retriable = document.get("code") in RETRYABLE
    if retriable and op.name in ("insert", "update", "delete") and op.doc.get("autocommit") is not False:
        error = {"index": 0, "code": document["code"], "codeName": document["codeName"], "errmsg": document["errmsg"]}
        document = {"n": 0, "writeErrors": [error], "ok": 1.0}
        if op.name == "update":
            document["nModified"] = 0
    labels = [one for one in document.pop("errorLabels", []) if one != "RetryableWriteError"]
    in_transaction = op.doc.get("autocommit") is False
    if (found.needs == WRITE or in_transaction or retriable) and not (in_transaction and document.get("code") == 10107):
        _scrubbed(document)
    for error in document.get("writeErrors", []):
        if error["code"] not in (189, 11602):
            _scrubbed(error)
    if "writeConcernError" in document:
        _scrubbed(document["writeConcernError"])
    document.pop("topologyVersion", None)
    document.pop("electionId", None)
    document.pop("opTime", None)
    return {**document, **({"errorLabels": labels} if labels else {})}
