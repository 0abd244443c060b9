"""What a server says and does about itself: ping, versions, parameters, fail points, step downs, shutdown."""

import asyncio
import time

from bson import Int64
from bson.datetime_ms import DatetimeMS

from support.mongo_model.errors import CommandError
from support.mongo_model.registry import READ, WRITE, command

VERSIONS = {9: "4.4.6", 13: "5.0.31", 17: "6.0.20", 21: "7.0.16", 25: "8.0.5", 27: "8.2.0"}


def version(wire):
    return VERSIONS[max((one for one in VERSIONS if one <= wire), default=9)]


@command("ping", login=False)
async def ping(op):
    return {}


@command("buildInfo", "buildinfo", login=False)
async def build_info(op):
    settings = op.member.cluster.settings
    words = version(settings.wire)
    numbers = [int(one) for one in words.split(".")] + [0]
    # MongoDB 8.1 and later want a login for it (buildInfoAuthMode).
    mode = settings.build_info_auth or ("requiresAuth" if settings.wire >= 26 else "allowedPreAuth")
    if settings.auth and not op.connection.user and mode != "allowedPreAuth":
        if mode == "requiresAuth":
            raise CommandError(13, "Command buildInfo requires authentication")
        return {"version": words, "versionArray": numbers}
    product = settings.product if isinstance(settings.product, str) else settings.product[op.member.index]
    if product == "quiet":
        return {"version": words, "gitVersion": "unknown", "versionArray": numbers, "bits": 64, "debug": False, "maxBsonObjectSize": 16777216}
    imitation = {"ferretdbVersion": "v1.24.0"} if product == "FerretDB" else {}
    return {"version": words, "gitVersion": "unknown", **imitation, "modules": [], "allocator": "system", "javascriptEngine": "none",
            "sysInfo": "deprecated", "versionArray": numbers,
            "openssl": {"running": "model", "compiled": "model"}, "bits": 64, "debug": False, "maxBsonObjectSize": 16777216,
            "storageEngines": ["wiredTiger"]}


@command("whatsmyuri", login=False)
async def whats_my_uri(op):
    return {"you": f"{op.connection.peer[0]}:{op.connection.peer[1]}"}


@command("serverStatus")
async def server_status(op):
    member = op.member
    uptime = time.time() - member.started
    return {"host": member.address, "version": version(member.cluster.settings.wire), "process": "mongod", "pid": Int64(member.index),
            "uptime": float(int(uptime)), "uptimeMillis": Int64(uptime * 1000), "uptimeEstimate": Int64(uptime),
            "localTime": DatetimeMS(int(time.time() * 1000)),
            "connections": {"current": len(member.connections), "available": 15000, "totalCreated": 0},
            "storageEngine": {"name": "wiredTiger", "supportsCommittedReads": True, "persistent": True}}


@command("getParameter", login=False)
async def get_parameter(op):
    known = {"enableTestCommands": 1, "featureCompatibilityVersion": {"version": version(op.member.cluster.settings.wire)[:3]},
             "authenticationMechanisms": ["SCRAM-SHA-1", "SCRAM-SHA-256"], "requireApiVersion": False,
             "transactionLifetimeLimitSeconds": 60}
    if op.doc["getParameter"] == "*":
        return dict(known)
    found = {name: known[name] for name in op.doc if name in known}
    if not found:
        raise CommandError(72, "no option found to get")
    return found


@command("setParameter")
async def set_parameter(op):
    return {"was": 0}


@command("getCmdLineOpts")
async def get_cmd_line_opts(op):
    return {"argv": ["mongod"], "parsed": {"setParameter": {"enableTestCommands": "1"}}}


@command("getLog")
async def get_log(op):
    return {"totalLinesWritten": 0, "log": []}


@command("hostInfo")
async def host_info(op):
    return {"system": {"hostname": op.member.address}, "os": {"type": "Linux"}, "extra": {}}


@command("getLastError", "getlasterror")
async def get_last_error(op):
    return {"connectionId": op.connection.number, "n": 0, "syncMillis": 0, "writtenTo": None, "writeConcern": {"w": 1, "wtimeout": 0},
            "err": None}


@command("fsync")
async def fsync(op):
    return {"numFiles": 1}


@command("currentOp")
async def current_op(op):
    return {"inprog": [{"type": "op", "desc": f"conn{one.connection.number}", "connectionId": one.connection.number, "active": True,
                        "opid": id(one) % 2**31, "op": "command", "ns": f"{one.database}.$cmd",
                        "command": {one.name: str(one.doc[one.name])}} for one in op.member.operations]}


@command("killOp")
async def kill_op(op):
    for one in list(op.member.operations):
        if id(one) % 2**31 == op.doc["op"]:
            one.interrupt(11601, "operation was interrupted")
    return {"info": "attempting to kill op"}


@command("configureFailPoint")
async def configure_fail_point(op):
    name, mode = op.doc["configureFailPoint"], op.doc["mode"]
    if name == "stopReplProducer":
        op.member.hold = mode != "off"
    op.member.fail_points.configure(name, mode, op.doc.get("data"))
    return {}


def _set_only(op):
    if not op.member.in_set:
        raise CommandError(76, "not running with --replSet")


@command("replSetStepDown", admin=True)
async def step_down(op):
    _set_only(op)
    seconds = float(op.doc["replSetStepDown"]) if op.doc["replSetStepDown"] is not True else 60.0
    catch_up = float(op.doc.get("secondaryCatchUpPeriodSecs", 10))
    if seconds < 0 or catch_up > seconds:
        raise CommandError(2, "stepdown period must be longer than secondaryCatchUpPeriodSecs")
    await op.member.cluster.step_down(op.member, seconds, catch_up, bool(op.doc.get("force")))
    return {}


@command("replSetStepUp", admin=True)
async def step_up(op):
    _set_only(op)
    await op.member.cluster.elect(op.member)
    return {}


@command("replSetFreeze", admin=True)
async def freeze(op):
    _set_only(op)
    seconds = int(op.doc["replSetFreeze"])
    if op.member.role == "primary" and seconds:
        raise CommandError(2, "cannot freeze node when primary or running for election. state: Primary")
    op.member.not_before = time.monotonic() + seconds
    return {"info": "unfreezing"} if seconds == 0 else {}


@command("replSetMaintenance", admin=True)
async def maintenance(op):
    _set_only(op)
    member, wanted = op.member, "recovering" if op.doc["replSetMaintenance"] else "secondary"
    if member.role == "primary":
        raise CommandError(95, "primaries can't modify maintenance mode")
    if member.role == wanted == "secondary":
        raise CommandError(96, "already out of maintenance mode")
    member.role = wanted
    member.changed()
    return {}


STATES = {"primary": 1, "secondary": 2, "recovering": 3, "arbiter": 7}


@command("replSetGetStatus", admin=True)
async def status(op):
    _set_only(op)
    cluster = op.member.cluster
    members = [{"_id": one.index, "name": one.address, "health": 1.0 if cluster.reach(op.member, one) else 0.0,
                "state": STATES[one.role] if one.running else 8, "stateStr": one.role.upper() if one.running else "(not reachable/healthy)",
                "optime": one.optime, "self": one is op.member} for one in cluster.voters]
    return {"set": cluster.settings.set_name, "date": DatetimeMS(int(time.time() * 1000)), "myState": STATES[op.member.role],
            "term": Int64(op.member.term), "heartbeatIntervalMillis": Int64(cluster.settings.heartbeat * 1000),
            "majorityVoteCount": cluster.majority, "members": members}


@command("replSetGetConfig", admin=True)
async def get_config(op):
    _set_only(op)
    cluster = op.member.cluster
    return {"config": {"_id": cluster.settings.set_name, "version": cluster.config_version, "term": op.member.term,
                       "protocolVersion": Int64(1), "writeConcernMajorityJournalDefault": True,
                       "members": [{"_id": one.index, "host": one.address, "arbiterOnly": one.kind == "arbiter", "votes": 1,
                                    "priority": 0.0 if one.kind == "arbiter" else 1.0} for one in cluster.voters],
                       "settings": {"electionTimeoutMillis": int(cluster.settings.election * 1000),
                                    "replicaSetId": cluster.replica_set_id}}}


@command("shutdown", admin=True)
async def shutdown(op):
    member = op.member
    if member.role == "primary" and not op.doc.get("force"):
        await member.cluster.step_down(member, catch_up=float(op.doc.get("timeoutSecs", 1)))
    asyncio.ensure_future(member.cluster.stop(member))
    await op.wait(asyncio.sleep(60))
    return {}


@command("isdbgrid")
async def is_db_grid(op):
    if op.member.kind != "mongos":
        raise CommandError(59, "no such command: 'isdbgrid'")
    return {"isdbgrid": 1, "hostname": op.member.address}


@command("mapReduce", "mapreduce", needs=READ)
async def map_reduce(op):
    raise CommandError(115, "mapReduce needs a JavaScript engine")


@command("appendOplogNote", needs=WRITE, concern=True, admin=True)
async def append_oplog_note(op):
    op.member.commit((), op)
    return {}
