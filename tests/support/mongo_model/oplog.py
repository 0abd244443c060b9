"""The journal as the documents of local.oplog.rs, read once and followed."""

from bson import Int64
from bson.datetime_ms import DatetimeMS

from support.mongo_model.errors import CommandError

NAMESPACE = "local.oplog.rs"


def documents(entries):
    found = []
    for entry in entries:
        base = {"ts": entry.ts, "t": Int64(entry.term), "wall": DatetimeMS(entry.wall), "v": Int64(2)}
        if not entry.operations:
            found.append({"op": "n", "ns": "", "o": {"msg": "new primary"}, **base})
        for operation in entry.operations:
            if operation[0] == "c":
                body = {name: one for name, one in operation[1].items() if name != "identity"}
                found.append({"op": "c", "ns": "admin.$cmd", "o": body, **base})
            else:
                kind, namespace, document = operation
                found.append({"op": kind, "ns": namespace, "o": {"_id": document} if kind == "d" else document, **base})
    return found


class Tail:
    """Called, it gives what has come since the last call."""

    def __init__(self, member):
        self.member = member
        self.last = member.log[-1:]
        self.length = len(member.log)

    def __call__(self):
        log = self.member.log
        if log[self.length - 1:self.length] != self.last:
            raise CommandError(136, "CollectionScan died due to position in capped collection being deleted. Last seen record id: "
                                    f"{self.length}")
        fresh = log[self.length:]
        self.length, self.last = len(log), log[-1:]
        return documents(fresh)
