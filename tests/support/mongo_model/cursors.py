"""Cursors of one member: they belong to the node, a session and a namespace, and to no connection."""

import random

from bson import Int64

from support.mongo_model.errors import CommandError


class Cursor:
    """What is left of a result; `more` makes new documents for tailable cursors and change streams."""

    def __init__(self, namespace, documents, op, more=None, await_data=False):
        self.id = Int64(random.randrange(1 << 40, 1 << 62))
        self.namespace = namespace
        self.documents = documents
        self.lsid = op.lsid
        self.user = op.connection.user
        self.transaction = op.transaction
        self.number = op.number
        self.more = more
        self.await_data = await_data
        self.batch_size = op.doc.get("cursor", {}).get("batchSize") or op.doc.get("batchSize")
        self.killed = None
        self.busy = False


class Cursors:
    """The open cursors of one member."""

    def __init__(self):
        self.open = {}

    def add(self, cursor):
        self.open[int(cursor.id)] = cursor
        return cursor

    def get(self, number):
        cursor = self.open.get(int(number))
        if cursor is None:
            raise CommandError(43, f"cursor id {int(number)} not found")
        return cursor

    def close(self, number):
        return self.open.pop(int(number), None)

    def dropped(self, command):
        """A drop or a rename ends the cursors of its collection at their next getMore."""
        name, target = next(iter(command.items()))
        for cursor in self.open.values():
            gone = name in ("drop", "renameCollection") and cursor.namespace == target or \
                name == "dropDatabase" and cursor.namespace.split(".", 1)[0] == target or \
                name == "dropIndexes" and cursor.namespace == target
            if gone and not getattr(cursor.more, "is_change_stream", False):
                cursor.killed = CommandError(175, f"collection dropped. UUID of {cursor.namespace}"
                                             if name != "renameCollection" else f"collection renamed from '{target}'")

    def kill_all(self):
        """After a rollback a cursor is still known, but its plan is gone."""
        for cursor in self.open.values():
            cursor.killed = CommandError(175, "collection dropped between getMore calls")

    def of_session(self, lsid):
        return [one for one in self.open.values() if one.lsid == lsid]
