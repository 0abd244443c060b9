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
        self.seconds_left = None
        self.killed = None
        self.busy = False

    @property
    def is_change_stream(self):
        return getattr(self.more, "is_change_stream", False)

    def take(self, size, most_bytes):
        """The next documents, at most `size` and `most_bytes`."""
        taken, total = [], 0
        while self.documents and (size is None or len(taken) < size):
            total += len(str(self.documents[0])) if taken else 0
            if total > most_bytes:
                break
            taken.append(self.documents.pop(0))
        return taken

    def is_open(self, batch, size):
        """Whether there may be more behind a batch that was to hold `size`: a full batch leaves it open, since nobody looks ahead."""
        if self.documents:
            return True
        if self.more is not None:
            return not getattr(self.more, "ended", False)
        return size is not None and len(batch) == size


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
            gone = name in ("drop", "renameCollection", "dropIndexes") and cursor.namespace == target or \
                name == "dropDatabase" and cursor.namespace.split(".", 1)[0] == target or \
                name == "renameCollection" and cursor.namespace == command["to"]
            if gone and not cursor.is_change_stream:
                renamed = name == "renameCollection" and cursor.namespace == target
                cursor.killed = CommandError(175, f"collection renamed from '{target}'" if renamed
                                             else f"collection dropped. UUID of {cursor.namespace}")

    def kill_all(self):
        """After a rollback a cursor is still known, but its plan is gone."""
        for cursor in self.open.values():
            cursor.killed = CommandError(175, "collection dropped between getMore calls")

    def of_session(self, lsid):
        return [one for one in self.open.values() if one.lsid == lsid]
