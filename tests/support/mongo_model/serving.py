"""Whether a member may serve a command now: its role, the read preference, and the time that the reader wants to see."""

from bson import Timestamp

from support.mongo_model.errors import CommandError
from support.mongo_model.registry import DATA, READ, WRITE

MODES = ("primary", "primaryPreferred", "secondary", "secondaryPreferred", "nearest")


def check_role(op, found):
    """Refuses what a member of this role does not serve, as the read preference has it."""
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


async def wait_for_time(op):
    """Learns the cluster time that a client brings, and waits for afterClusterTime."""
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
