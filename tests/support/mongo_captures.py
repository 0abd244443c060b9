"""How each captured scenario is set up on a model: which members, which data, and what happened beside the recorded requests."""

import re
import threading

from pymongo import MongoClient

from support.mongo import ModelSet
from support.mongo_replay import Replay
from support.waiting import wait_for


class Scene:
    """A model of the right kind, and a driver on its primary for what the capture did not record."""

    def __init__(self, arguments=("--members", 3)):
        self.model = ModelSet(*arguments)
        self.client = MongoClient(self.model.uri(**({} if self.model.name else {"directConnection": "true"})))
        self.db = self.client.test

    def address(self, line):
        """The member that plays the captured one."""
        node = line.get("node", "primary")
        state = self.model.state()["members"]
        primary = self.model.primary()
        if "arbiter" in node:
            return next(one["address"] for one in state if one["role"] == "arbiter")
        if "secondary" in node.lower() or "recovering" in node.lower() or "STARTUP" in node:
            return next(one["address"] for one in state if one["member"] != primary and one["role"] != "arbiter")
        return state[primary if primary is not None else 0]["address"]

    def close(self):
        self.client.close()
        self.model.close()
        assert not self.model.problems, self.model.problems


def numbers(scene, name="c", start=0, count=300, **more):
    scene.db[name].insert_many([{"_id": number, "x": number, **more} for number in range(start, start + count)])


def _secondary(scene):
    scene.db.c.insert_one({"_id": 1, "x": 1})
    scene.db.c.create_index("x", name="x")


SCENES = {
    "06-secondary-reads-writes/secondary": (("--members", 2, "--arbiters", 1), _secondary),
    "07-retryable-writes/standalone": (("--standalone",), None),
    "07-retryable-writes/each-kind-then-the-same-again": (("--members", 3), None),
    "07-retryable-writes": (("--members", 3), lambda scene: scene.db.c.insert_one({"_id": 1})),
    "08-transactions": (("--members", 3), lambda scene: numbers(scene, start=1)),
    "09-cursors/tailable": (("--members", 3), lambda scene: (numbers(scene), capped(scene, "cap", 1), capped(scene, "capempty"),
                                                             capped(scene, "cap2", 0, max=2))),
    "09-cursors/changing-under-a-cursor": (("--members", 3), lambda scene: indexed(scene)),
    "09-cursors": (("--members", 3), numbers),
    "10-wire-protocol": (("--standalone",), None),
    "11-sessions-clustertime/sessions": (("--members", 3), numbers),
    "01-handshake/standalone": (("--standalone",), None),
    "01-handshake/primary": (("--members", 2, "--arbiters", 1), None),
    "01-handshake/secondary": (("--members", 2, "--arbiters", 1), None),
    "01-handshake/arbiter": (("--members", 2, "--arbiters", 1), None),
    "06-secondary-reads-writes/arbiter": (("--members", 2, "--arbiters", 1), None),
    "06-secondary-reads-writes/recovering": (("--members", 2, "--arbiters", 1), lambda scene: recovering(scene)),
}
LEFT_OUT = {
    "01-handshake/member-in-STARTUP2": "initial sync is not modelled", "01-handshake/maintenance-mode-on-off": "a poll, not an exchange",
    "01-handshake/member-in-RECOVERING": "maintenance mode comes by the control port, not by replSetMaintenance",
    "01-handshake/reconfig-removes-member": "replSetReconfig is not modelled",
    "01-handshake/secondary-without-majority": "needs a hello of a set that is down but for one; test_mongo_model.py has the case",
    "06-secondary-reads-writes/before-replSetInitiate": "a member without a set is not modelled",
    "09-cursors/noCursorTimeout-and-timeout": "cursors do not time out",
    "10-wire-protocol/compression": "only zlib, and the captures hold no bytes",
    "10-wire-protocol/big": "the captures hold no documents over 12 kB",
    "10-wire-protocol/legacy-opcodes": "refused, as servers do since 5.1",
    "11-sessions-clustertime/clusterTime-gossip": "times of the capture are in the past of the model's clock",
    "11-sessions-clustertime/causal": "times of the capture are in the past of the model's clock",
}
NO_CLUSTER_TIME = ("06-", "07-retryable-writes/labels-by-code")


def _found(table, name):
    """The entry of the longest key that `name` begins with."""
    keys = [key for key in table if name.startswith(key)]
    return table[max(keys, key=len)] if keys else None


def play(name, lines):
    """{step: differences} of a scenario, or None where it is not played."""
    scene_of = None if _found(LEFT_OUT, name) else _found(SCENES, name)
    if scene_of is None:
        return None
    arguments, prepare = scene_of
    scene = Scene(arguments)
    try:
        if prepare:
            prepare(scene)
        before = {step: lambda act=act: act(scene) for step, act in BESIDE.get(name, {}).items()}
        before.update(_fail_points(scene, lines))
        return Replay(lines, scene.address, before, name.startswith(NO_CLUSTER_TIME)).run()
    finally:
        scene.close()


def _fail_points(scene, lines):
    """Fail points that a line's note says were set for it."""
    found = {}
    for line in lines:
        note = re.match(r"failCommand (errorCode|writeConcernError|closeConnection) ?(\d*)", line.get("note", ""))
        if note:
            kind, code = note.groups()
            number = int(code or 0)
            value = {"errorCode": number, "closeConnection": True, "writeConcernError": {"code": number, "errmsg": "failed"}}[kind]
            data = {"failCommands": [next(iter(line["request"]["doc"]))], kind: value}
            found[line["step"]] = lambda data=data: scene.client.admin.command(
                "configureFailPoint", "failCommand", mode={"times": 1}, data=data)
    return found


def restarted(scene):
    """All members are started anew with a log that no longer holds what was before."""
    scene.model.do("truncate_history")
    for number in range(len(scene.model.members)):
        scene.model.do("kill", member=number)
    for number in range(len(scene.model.members)):
        scene.model.do("start", member=number)
    wait_for(lambda: scene.model.primary() is not None)


def capped(scene, name, *identities, **more):
    scene.db.create_collection(name, capped=True, size=10000, **more)
    for identity in identities:
        scene.db[name].insert_one({"_id": identity})


def indexed(scene, database="test"):
    collection = scene.client[database].dd
    collection.drop()
    collection.insert_many([{"_id": number, "x": number} for number in range(10)])
    collection.create_index("x", name="x_1")


def recovering(scene):
    number = next(one["member"] for one in scene.model.state()["members"] if one["role"] == "secondary")
    scene.model.do("role", member=number, role="recovering")


def later(seconds, act):
    return lambda scene: threading.Timer(seconds, act, (scene,)).start()


def deleted(identity):
    return lambda scene: scene.db.c.delete_one({"_id": identity})


def watched(scene):
    """Three events for the stream that the capture opened first."""
    scene.db.c.insert_one({"_id": "cs1"})
    scene.db.c.update_one({"_id": "cs1"}, {"$set": {"a": 1}})
    scene.db.c.delete_one({"_id": "cs1"})


BESIDE = {
    "09-cursors/change-stream": {2: watched, 47: lambda scene: scene.db.c.drop()},
    "08-transactions/commit-write-concern": {2: lambda scene: scene.model.do("hold_replication")},
    "09-cursors/tailable": {6: later(0.2, lambda scene: scene.db.cap.insert_one({"_id": 2})),
                            11: later(0.2, lambda scene: scene.db.cap.drop()),
                            13: lambda scene: scene.db.cap2.insert_many([{"_id": number} for number in range(1, 6)])},
    "09-cursors/changing-under-a-cursor": {2: lambda scene: scene.db.dd.drop(), 3: indexed, 4: lambda scene: scene.db.dd.rename("ee"),
                                           5: indexed, 6: lambda scene: scene.db.dd.drop_index("x_1"),
                                           7: lambda scene: indexed(scene, "test2"),
                                           8: lambda scene: scene.client.drop_database("test2")},
    "07-retryable-writes/bulk-partially-executed": {3: deleted(500), 6: deleted(510)},
    "07-retryable-writes/interrupted-bulk-failpoint": {
        4: lambda scene: scene.model.do("answer_instead", commands=["insert"], form="close")},
    "07-retryable-writes/writeConcern-errors": {10: lambda scene: scene.model.do("hold_replication"),
                                                 23: lambda scene: scene.model.do("heal")},
    "07-retryable-writes/incomplete-history-217": {6: restarted},
}
