"""The data of one member: databases, collections, documents, indexes. Stored documents are never changed, only replaced.

Changes come as operations, the same on every member: ("i", namespace, document), ("u", namespace, document), ("d", namespace, _id),
("c", command document).
"""

import uuid

from bson import Binary

from support.mongo_model.errors import CommandError
from support.mongo_model.paths import candidates
from support.mongo_model.values import MISSING, sort_key


def new_identity():
    """The UUID of a collection to be made."""
    return Binary(uuid.uuid4().bytes, 4)


class Collection:
    """Documents by their _id's sort key, in order of insertion. `identity` is the same on every member."""

    def __init__(self, options, identity):
        self.documents = {}
        self.options = options
        self.indexes = [{"v": 2, "key": {"_id": 1}, "name": "_id_"}]
        self.identity = identity

    def clone(self):
        other = Collection(dict(self.options), self.identity)
        other.documents = dict(self.documents)
        other.indexes = list(self.indexes)
        return other

    def duplicate_of(self, document, namespace):
        """A CommandError(11000) where a unique index forbids `document`, else None."""
        own = sort_key(document["_id"])
        for index in self.indexes:
            if not index.get("unique"):
                continue
            for key, other in self.documents.items():
                if key != own and all(_keys(document, path) & _keys(other, path) for path in index["key"]):
                    return duplicate(namespace, index, document)
        return None


def duplicate(namespace, index, document):
    values = {path: None if (one := candidates(document, path)[0]) is MISSING else one for path in index["key"]}
    words = ", ".join(f"{name}: {_shown(one)}" for name, one in values.items())
    return CommandError(11000, f"E11000 duplicate key error collection: {namespace} index: {index['name']} dup key: {{ {words} }}",
                        keyPattern=dict(index["key"]), keyValue=values)


def _shown(value):
    return f'"{value}"' if isinstance(value, str) else str(value)


def _keys(document, path):
    return {sort_key(one) for one in candidates(document, path)}


class Store:
    """All collections of a member by namespace."""

    def __init__(self):
        self.collections = {}

    def snapshot(self):
        other = Store()
        other.collections = {name: one.clone() for name, one in self.collections.items()}
        return other

    def find(self, namespace):
        return self.collections.get(namespace)

    def documents(self, namespace):
        found = self.collections.get(namespace)
        return found.documents if found else {}

    def databases(self):
        return sorted({name.split(".", 1)[0] for name in self.collections})

    def names(self, database):
        return [name.split(".", 1)[1] for name in self.collections if name.split(".", 1)[0] == database]

    def apply(self, operation):
        kind, namespace, document = operation if operation[0] != "c" else ("c", None, operation[1])
        if kind == "c":
            self._command(document)
            return
        if namespace not in self.collections:
            # No entry makes it: its identity comes from what was written to it first.
            self.collections[namespace] = Collection({}, Binary(uuid.uuid5(uuid.NAMESPACE_OID, f"{namespace} {document}").bytes, 4))
        collection = self.collections[namespace]
        if kind == "d":
            collection.documents.pop(sort_key(document), None)
            return
        collection.documents[sort_key(document["_id"])] = document
        limit = collection.options.get("max") if collection.options.get("capped") else None
        while limit and len(collection.documents) > limit:
            collection.documents.pop(next(iter(collection.documents)))

    def _command(self, command):
        name, target = next(iter(command.items()))
        if name == "create":
            self.collections[target] = Collection(dict(command["options"]), command["identity"])
        elif name == "drop":
            self.collections.pop(target, None)
        elif name == "dropDatabase":
            for one in [one for one in self.collections if one.split(".", 1)[0] == target]:
                del self.collections[one]
        elif name == "createIndexes":
            if target not in self.collections:
                self.collections[target] = Collection({}, command["identity"])
            self.collections[target].indexes += command["indexes"]
        elif name == "dropIndexes":
            found = self.collections[target]
            found.indexes = [one for one in found.indexes if one["name"] not in command["names"]]
        elif name == "renameCollection":
            self.collections[command["to"]] = self.collections.pop(target)
        elif name == "collMod":
            self.collections[target].options.update(command["options"])
