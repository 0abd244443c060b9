"""The journal that members share: entries in an order, each of one term, and the record of what became of each for an oracle."""

import itertools
import json
import time
from dataclasses import dataclass, field

from bson import Int64, Timestamp, json_util


@dataclass(eq=False)
class Entry:
    """One applied write (or a whole transaction). `session` is (lsid key, txnNumber, {stmtId: outcome} or "committed")."""
    number: int
    ts: Timestamp
    term: int
    member: int
    operations: tuple
    command: str = ""
    session: tuple = None
    wall: int = field(default_factory=lambda: int(time.time() * 1000))
    acknowledged: str = None
    rolled_back: bool = False
    replacement: bool = False

    @property
    def optime(self):
        return {"ts": self.ts, "t": Int64(self.term)}

    def as_history(self, brief=False):
        """What the control port shows of it; `brief`: of each document its _id only."""
        shown = {"op": self.number, "command": self.command, "member": self.member, "term": self.term,
                 "ts": [self.ts.time, self.ts.inc], "acknowledged": self.acknowledged, "rolled_back": self.rolled_back,
                 "operations": [_brief(one) if brief else [one[0]] + [_plain(part) for part in one[1:]] for one in self.operations]}
        if self.session:
            lsid, number, statements = self.session
            shown["session"] = {"lsid": lsid[0].hex(), "txnNumber": int(number),
                                "statements": statements if statements == "committed" else sorted(statements)}
        return shown


def _plain(value):
    return json.loads(json_util.dumps(value, json_options=json_util.RELAXED_JSON_OPTIONS))


def _brief(operation):
    """[kind, namespace, _id] of an operation on a document, [kind, command] of a command."""
    kind, *rest = operation
    if kind == "c":
        return [kind, next(iter(rest[0]))]
    return [kind, rest[0], _plain(rest[1] if kind == "d" else rest[1]["_id"])]


class Clock:
    """Cluster time: grows with each entry and with what clients gossip."""

    def __init__(self):
        self.now = Timestamp(int(time.time()), 1)

    def tick(self):
        seconds = int(time.time())
        self.now = Timestamp(seconds, 1) if seconds > self.now.time else Timestamp(self.now.time, self.now.inc + 1)
        return self.now

    def advance(self, seen):
        if seen > self.now:
            self.now = seen


class History:
    """Every entry ever applied by a primary, also those rolled back later."""

    def __init__(self):
        self.entries = []
        self._numbers = itertools.count(1)

    def next_number(self):
        return next(self._numbers)

    def add(self, entry):
        self.entries.append(entry)

    def shown(self, since=0, brief=False):
        return [one.as_history(brief) for one in self.entries if one.number > since]

    def totals(self):
        return {"applied": len(self.entries), "acknowledged": sum(1 for one in self.entries if one.acknowledged),
                "acknowledged_majority": sum(1 for one in self.entries if one.acknowledged == "majority"),
                "rolled_back": sum(1 for one in self.entries if one.rolled_back),
                "acknowledged_and_rolled_back": sum(1 for one in self.entries if one.rolled_back and one.acknowledged),
                "majority_and_rolled_back": sum(1 for one in self.entries if one.rolled_back and one.acknowledged == "majority")}
