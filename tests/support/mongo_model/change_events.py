"""The change events of one operation in the journal, as the spec of a $changeStream asks for them."""

from bson.datetime_ms import DatetimeMS

from support.mongo_model import resume_tokens
from support.mongo_model.differences import described
from support.mongo_model.errors import CommandError
from support.mongo_model.resume_tokens import INVALIDATE, token
from support.mongo_model.values import sort_key

KINDS = {"i": "insert", "u": "update", "d": "delete"}
COMMANDS = {"drop": "drop", "dropDatabase": "dropDatabase", "renameCollection": "rename"}
EXPANDED = {"create": "create", "createIndexes": "createIndexes", "dropIndexes": "dropIndexes", "collMod": "modify"}


class ChangeEvents:
    """What of a member's journal is an event. `database` and `collection` are what is watched, None where all of them are. `past` is the data
    as it was before the operation that comes next, and has to see each of them, by `of` or by `skip`."""

    def __init__(self, member, spec, database, collection):
        self.member = member
        self.spec = spec
        self.database = database
        self.collection = collection
        self.wire = member.cluster.settings.wire
        self.expanded = bool(spec.get("showExpandedEvents"))
        self.past = None

    def skip(self, operation):
        self.past.apply(operation)

    def of(self, entry, index):
        """The events of the `index`-th operation of an entry, an invalidate last."""
        operation = entry.operations[index]
        if operation[0] == "c":
            self.past.apply(operation)
            return self._command(entry, index, operation[1])
        kind, namespace, document = operation
        before = self.past.documents(namespace).get(sort_key(document if kind == "d" else document["_id"]))
        self.past.apply(operation)
        return self._write(entry, index, operation, before)

    def _begun(self, entry, index, kind, identity):
        event = {"_id": token(entry.ts, index), "operationType": kind, "clusterTime": entry.ts}
        if self.expanded and identity:
            event["collectionUUID"] = identity
        if self.wire >= 17:
            event["wallTime"] = DatetimeMS(entry.wall)
        return event

    def _write(self, entry, index, operation, before):
        kind, namespace, document = operation
        database, collection = namespace.split(".", 1)
        if self.database not in (None, database) or self.collection not in (None, collection) or collection.startswith("system."):
            return []
        replaced = kind == "u" and entry.replacement
        place = self.past.find(namespace)
        event = self._begun(entry, index, "replace" if replaced else KINDS[kind], place.identity)
        key = document if kind == "d" else document["_id"]
        if kind == "i" or replaced:
            event["fullDocument"] = document
        event["ns"] = {"db": database, "coll": collection}
        event["documentKey"] = {"_id": key}
        images = bool(place.options.get("changeStreamPreAndPostImages", {}).get("enabled"))
        if kind == "u" and not replaced:
            event["updateDescription"] = described(before, document, arrays=self.wire >= 13, ambiguous=self.expanded and self.wire >= 18)
            wanted = self.spec.get("fullDocument", "default")
            if wanted == "updateLookup":
                event["fullDocument"] = self.member.store.documents(namespace).get(sort_key(key))
            elif wanted != "default":
                event["fullDocument"] = self._image(wanted, images, document, "post-image")
        wanted = self.spec.get("fullDocumentBeforeChange", "off")
        if kind != "i" and wanted != "off":
            event["fullDocumentBeforeChange"] = self._image(wanted, images, before, "pre-image")
        return [event]

    @staticmethod
    def _image(wanted, kept, document, name):
        if not kept and wanted == "required":
            raise CommandError(47, f"Change stream was configured to require a {name} for all update, delete and replace events, but the "
                                   f"{name} was not found")
        return document if kept else None

    def _command(self, entry, index, body):
        name, target = next(iter(body.items()))
        kind = COMMANDS.get(name) or self.expanded and EXPANDED.get(name)
        # A stream of a collection sees also what is renamed to it.
        places = [target] + ([body["to"]] if name == "renameCollection" else [])
        if not kind or not any(self._watches(*one.partition(".")[::2]) for one in places):
            return []
        database, _, collection = target.partition(".")
        event = self._begun(entry, index, kind, body.get("identity"))
        event["ns"] = {"db": database, "coll": collection} if collection else {"db": database}
        if name == "renameCollection":
            to = dict(zip(("db", "coll"), body["to"].split(".", 1)))
            event["to"] = to
            if self.expanded:
                dropped = body.get("dropTarget")
                event["operationDescription"] = {"to": to, **({"dropTarget": dropped} if dropped else {})}
        elif name in EXPANDED:
            event["operationDescription"] = _description(name, body)
        if name in EXPANDED or self.collection is None and not (name == "dropDatabase" and self.database):
            return [event]
        return [event, {"_id": resume_tokens.token(entry.ts, index, INVALIDATE), "operationType": "invalidate", "clusterTime": entry.ts,
                        **({"wallTime": event["wallTime"]} if "wallTime" in event else {})}]

    def _watches(self, database, collection):
        return self.database in (None, database) and self.collection in (None, collection)


def _description(name, body):
    if name == "create":
        return {**body["options"], **({} if "viewOn" in body["options"] else {"idIndex": {"v": 2, "key": {"_id": 1}, "name": "_id_"}})}
    return {"indexes": body["indexes"]} if "indexes" in body else dict(body["options"])
