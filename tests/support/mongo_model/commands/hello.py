"""hello and isMaster: what a member says of itself, at once, awaited, and as an exhaust stream."""

import asyncio
import time

from bson import Int64, ObjectId
from bson.datetime_ms import DatetimeMS

from support.mongo_model import compression
from support.mongo_model.errors import CommandError
from support.mongo_model.registry import command
from support.mongo_model.wire import EXHAUST_ALLOWED, OP_MSG


def _optime_fields(member):
    if member.kind == "arbiter":
        # It holds no log, but hears of the primary's.
        member = member.cluster.primary() or member
    last = {"opTime": member.optime, "lastWriteDate": DatetimeMS(member.optime["ts"].time * 1000)}
    if member.commit_length:
        entry = member.log[min(member.commit_length, len(member.log)) - 1]
        last["majorityOpTime"] = entry.optime
        last["majorityWriteDate"] = DatetimeMS(entry.ts.time * 1000)
    return last


def _set_fields(member, flag):
    cluster = member.cluster
    fields = {"hosts": [one.address for one in cluster.voters if one.kind != "arbiter"]}
    arbiters = [one.address for one in cluster.voters if one.kind == "arbiter"]
    if arbiters:
        fields["arbiters"] = arbiters
    fields["setName"] = cluster.settings.set_name
    fields["setVersion"] = cluster.config_version
    fields[flag] = member.role == "primary" and member.writable
    fields["secondary"] = member.role == "secondary" and member.dying is None or member.role == "primary" and not member.writable
    if member.primary_view is not None:
        fields["primary"] = cluster.members[member.primary_view].address
    if member.role == "arbiter":
        fields["arbiterOnly"] = True
    fields["me"] = member.address
    if member.role == "primary":
        fields["electionId"] = member.election_id
    fields["lastWrite"] = _optime_fields(member)
    return fields


def description(member, connection, doc, name):
    """The reply to hello without ok and cluster time."""
    flag = "isWritablePrimary" if name == "hello" else "ismaster"
    fields = {}
    if doc.get("helloOk"):
        fields["helloOk"] = True
    fields["topologyVersion"] = member.topology_version()
    if member.kind == "mongos":
        fields.update({flag: True, "msg": "isdbgrid"})
    elif member.kind == "standalone":
        fields[flag] = True
    else:
        fields.update(_set_fields(member, flag))
    fields.update({"maxBsonObjectSize": 16777216, "maxMessageSizeBytes": 48000000, "maxWriteBatchSize": 100000,
                   "localTime": DatetimeMS(int(time.time() * 1000)), "logicalSessionTimeoutMinutes": 30,
                   "connectionId": connection.number, "minWireVersion": 0, "maxWireVersion": member.cluster.settings.wire,
                   "readOnly": False})
    if member.kind == "mongos":
        del fields["readOnly"]
    if connection.compression is not None:
        fields["compression"] = connection.compression
    return fields


def _metadata(connection, doc):
    metadata = doc.get("client")
    if metadata is None:
        return
    if not isinstance(metadata, dict):
        raise CommandError(14, "The client metadata document must be a document")
    if connection.metadata is not None:
        raise CommandError(186, "The client metadata document may only be sent in the first isMaster")
    for field in ("driver", "os"):
        if not isinstance(metadata.get(field), dict):
            raise CommandError(183, f"Missing required sub-document '{field}' in the client metadata document")
    if not isinstance(metadata["driver"].get("name"), str) or not isinstance(metadata["os"].get("type"), str):
        raise CommandError(183, "Missing required field 'driver.name' or 'os.type' in the client metadata document")
    connection.metadata = metadata
    application = metadata.get("application")
    connection.app_name = application.get("name") if isinstance(application, dict) else None


def _compression(connection, doc):
    if "compression" in doc and connection.compression is None:
        known = [one for one in doc["compression"] if one in compression.PACK]
        connection.compression = known or None


def _awaitable(member, doc):
    """(version, seconds) of an awaitable hello, or None; bad combinations are errors."""
    version, limit = doc.get("topologyVersion"), doc.get("maxAwaitTimeMS")
    if (version is None) != (limit is None):
        raise CommandError(51760 if member.kind == "mongos" else 31368,
                           ("A request with a 'topologyVersion' must include 'maxAwaitTimeMS'" if limit is None
                            else "A request with 'maxAwaitTimeMS' must include a 'topologyVersion'"))
    if version is None:
        return None
    if not isinstance(version, dict) or not isinstance(version.get("processId"), ObjectId):
        raise CommandError(14, "topologyVersion must hold a processId")
    if not isinstance(version.get("counter"), Int64):
        raise CommandError(14, "BSON field 'TopologyVersion.counter' is the wrong type, expected type 'long'")
    if limit < 0:
        raise CommandError(51759 if member.kind == "mongos" else 31373, "maxAwaitTimeMS must be a non-negative integer")
    if version["counter"] < 0:
        raise CommandError(51758 if member.kind == "mongos" else 31372, "topologyVersion must have a non-negative counter")
    if version["processId"] == member.process_id and version["counter"] > member.counter:
        raise CommandError({"mongos": 51761, "standalone": 51764}.get(member.kind, 31382),
                           f"Received a topology version with counter: {version['counter']} which is greater than the server topology "
                           f"version counter: {member.counter}")
    return version, limit / 1000


async def _wait(op, version, seconds):
    member, loop = op.member, asyncio.get_running_loop()
    end = loop.time() + seconds
    while version["processId"] == member.process_id and version["counter"] == member.counter:
        left = end - loop.time()
        if left <= 0:
            return
        await op.wait(member.topology.next(), left)


@command("hello", "isMaster", "ismaster", login=False)
async def hello(op):
    """Answers at once, when the topology changed, or again and again on the same connection."""
    from support.mongo_model import login
    member, connection, doc = op.member, op.connection, op.doc
    connection.said_hello = True
    _metadata(connection, doc)
    _compression(connection, doc)
    awaited = _awaitable(member, doc)
    streams = op.request.opcode == OP_MSG and op.request.flags & EXHAUST_ALLOWED
    if streams and not awaited:
        raise CommandError(51756, "An isMaster request with exhaust must specify 'maxAwaitTimeMS'")
    if awaited:
        await _wait(op, *awaited)
    document = description(member, connection, doc, op.name)
    await login.greet(op, document)
    op.sent_counter = member.counter
    if streams:
        connection.exhaust = lambda: _next(op, awaited[1])
    return document


async def _next(op, seconds):
    """The next message of the stream: when something changed, or at the latest after maxAwaitTimeMS."""
    from support.mongo_model import dispatch
    member = op.member
    sent = {"processId": member.process_id, "counter": op.sent_counter}
    try:
        await _wait(op, sent, seconds)
        if member.dying in (91, 11600):
            raise CommandError(member.dying, "The server is in quiesce mode and will shut down")
    except CommandError as error:
        op.connection.exhaust = None
        return dispatch.error_reply(member, error)
    document = {**description(member, op.connection, op.doc, op.name), "ok": 1.0}
    op.sent_counter = member.counter
    if member.in_set and member.role != "arbiter":
        document["$clusterTime"] = dispatch.cluster_time(member)
        document["operationTime"] = member.optime["ts"]
    return document
