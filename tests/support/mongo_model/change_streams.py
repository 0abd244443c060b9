"""Change streams over a member's journal, with resume tokens; and the journal as local.oplog.rs."""

from bson import Int64, Timestamp
from bson.datetime_ms import DatetimeMS

from support.mongo_model import pipeline
from support.mongo_model.errors import CommandError
from support.mongo_model.values import same, sort_key

MARK = 0xFFFFFFFF


def _token(ts, index):
    """Tokens order as strings; `index` counts operations within an entry, MARK stands behind them all."""
    return {"_data": f"82{ts.time:08X}{ts.inc:08X}2B{index:08X}04"}


def _position(token):
    try:
        data = token["_data"]
        return Timestamp(int(data[2:10], 16), int(data[10:18], 16)), int(data[20:28], 16)
    except (KeyError, TypeError, ValueError) as error:
        raise CommandError(9, "invalid resume token") from error


def _changed_fields(before, after):
    """updateDescription of an update, top level fields by whole values."""
    fresh = {name: one for name, one in after.items() if name not in before or not same(before[name], one)}
    return {"updatedFields": fresh, "removedFields": [name for name in before if name not in after]}


class ChangeStream:
    """Called, it gives the events since the last call."""

    is_change_stream = True

    def __init__(self, op, spec, stages):
        self.member = op.member
        self.spec = spec
        self.stages = stages
        target = op.doc["aggregate"]
        self.collection = target if isinstance(target, str) else None
        self.database = None if spec.get("allChangesForCluster") else op.database
        self.ended = False
        self.read_to = 0
        log = op.member.log
        self.last = _token(log[-1].ts if log else op.member.cluster.epoch, MARK)
        self.after = _position(self.last)
        resume = spec.get("resumeAfter") or spec.get("startAfter")
        if resume is not None:
            self.after, self.last = _position(resume), resume
        elif "startAtOperationTime" in spec:
            start = spec["startAtOperationTime"]
            self.after = (Timestamp(start.time, start.inc - 1), MARK) if start.inc else (Timestamp(start.time - 1, MARK), MARK)

    def token(self):
        return self.last

    def __call__(self):
        member, found = self.member, []
        length = member.commit_length
        if length < self.read_to:
            self.read_to = 0
        for entry in member.log[self.read_to:length]:
            if (entry.ts, MARK) > self.after:
                for index, operation in enumerate(entry.operations):
                    if (entry.ts, index) > self.after:
                        found += self._event(entry, index, operation)
        if length:
            last = member.log[length - 1].ts
            if (last, MARK) > self.after:
                self.after, self.last = (last, MARK), _token(last, MARK)
        self.read_to = length
        if found:
            found = pipeline.run(found, self.stages, None)
            if any("_id" not in one for one in found):
                self.ended = True
                raise CommandError(280, "Encountered an event whose _id field, which contains the resume token, was "
                                        "modified by the pipeline.")
        return found

    def _event(self, entry, index, operation):
        if operation[0] == "c":
            return self._command(entry, index, operation[1])
        kind, namespace, document = operation
        database, collection = namespace.split(".", 1)
        if self.database not in (None, database) or self.collection not in (None, collection) or collection.startswith("system."):
            return []
        event = {"_id": _token(entry.ts, index), "operationType": {"i": "insert", "u": "update", "d": "delete"}[kind],
                 "clusterTime": entry.ts}
        key = document if kind == "d" else document["_id"]
        place = {"ns": {"db": database, "coll": collection}, "documentKey": {"_id": key}}
        if kind == "i":
            event["fullDocument"] = document
        event.update(place)
        if kind == "u":
            before = self._before(entry, index, namespace, key)
            if entry.replacement:
                event["operationType"] = "replace"
                event["fullDocument"] = document
            else:
                event["updateDescription"] = _changed_fields(before, document)
                if self.spec.get("fullDocument") == "updateLookup":
                    event["fullDocument"] = self.member.store.documents(namespace).get(sort_key(key))
        return [event]

    def _before(self, entry, index, namespace, key):
        """The document as it was just before this operation."""
        position = self.member.log.index(entry)
        wanted = sort_key(key)
        earlier = [one for other in self.member.log[:position] for one in other.operations] + list(entry.operations[:index])
        for one in reversed(earlier):
            if one[0] in ("i", "u") and one[1] == namespace and sort_key(one[2]["_id"]) == wanted:
                return one[2]
        return {}

    def _command(self, entry, index, body):
        name, target = next(iter(body.items()))
        database, _, collection = target.partition(".")
        if self.database not in (None, database) or name not in ("drop", "dropDatabase", "renameCollection"):
            return []
        if self.collection is not None and name != "dropDatabase" and self.collection != collection:
            return []
        event = {"_id": _token(entry.ts, index), "operationType": {"renameCollection": "rename"}.get(name, name), "clusterTime": entry.ts,
                 "ns": {"db": database, "coll": collection} if collection else {"db": database}}
        if name == "renameCollection":
            to = body["to"].split(".", 1)
            event["to"] = {"db": to[0], "coll": to[1]}
        if self.collection is None and not (name == "dropDatabase" and self.database):
            return [event]
        self.ended = True
        invalid = {"_id": _token(entry.ts, index + 1), "operationType": "invalidate", "clusterTime": entry.ts}
        return ([event] if not (name == "dropDatabase" and self.collection) else []) + [invalid]


def open_stream(op, stages):
    """The stream of an aggregate whose first stage is $changeStream."""
    if not op.member.in_set:
        raise CommandError(40573, "The $changeStream stage is only supported on replica sets")
    spec = stages[0]["$changeStream"]
    if op.transaction:
        raise CommandError(263, "$changeStream cannot be used in a transaction")
    for stage in stages[1:]:
        name = next(iter(stage), "")
        if name not in pipeline.STAGES:
            raise CommandError(40324, f"Unrecognized pipeline stage name: '{name}'")
        if name not in ("$match", "$project", "$addFields", "$set", "$unset", "$replaceRoot", "$replaceWith", "$redact"):
            raise CommandError(20, f"{name} is not permitted in a $changeStream pipeline")
    unknown = set(spec) - {"fullDocument", "resumeAfter", "startAfter", "startAtOperationTime", "allChangesForCluster",
                           "fullDocumentBeforeChange", "showExpandedEvents"}
    if unknown:
        raise CommandError(40415, f"BSON field '$changeStream.{unknown.pop()}' is an unknown field.")
    return ChangeStream(op, spec, stages[1:])


def oplog(member):
    """The journal as documents of local.oplog.rs."""
    found = []
    for entry in member.log:
        base = {"ts": entry.ts, "t": Int64(entry.term), "wall": DatetimeMS(entry.wall), "v": Int64(2)}
        if not entry.operations:
            found.append({"op": "n", "ns": "", "o": {"msg": "new primary"}, **base})
        for operation in entry.operations:
            if operation[0] == "c":
                found.append({"op": "c", "ns": "admin.$cmd", "o": dict(operation[1]), **base})
            else:
                kind, namespace, document = operation
                found.append({"op": kind, "ns": namespace, "o": {"_id": document} if kind == "d" else document, **base})
    return found
