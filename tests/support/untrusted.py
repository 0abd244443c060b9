"""Servers that do not know a write again: a way to them that can be cut, and clients whose every write must be there once or be told as unknown."""

import collections
import threading

from bson import Binary, Int64

from support.holdfast import Background
from support.relay import Relay
from support.waiting import wait_for

MARKS = 40  # in one document
INCREMENT = {"$inc": {"n": 1}}
NUMBERED = {"update": "things", "updates": [{"q": {"_id": 1}, "u": INCREMENT}], "lsid": {"id": Binary(b"s" * 16, 4)}, "txnNumber": Int64(1)}


def is_unknown(error):
    return error.code == 6 and "outcome unknown" in str(error)


class Link:
    """A proxy whose way to the server can be cut, and clients of it, made by `connect(port, **options)`. Only commands are answered on that way:
    no check is due for long."""

    def __init__(self, server, start_holdfast, connect, options="", **reconnect):
        self.relay = Relay(server.port)
        self.proxy = start_holdfast(f"mongodb://127.0.0.1:{self.relay.port}/{options}",
                                    connection={"type": "mongodb", "health": {"interval": "60s"}, "reconnect": {"retry_delay": "100ms", **reconnect}})
        self.connect = connect
        self.clients = []

    def client(self, **options):
        self.clients.append(self.connect(self.proxy.port, **options))
        return self.clients[-1]

    def cut(self, answered=0):
        """The next command is executed, and so many bytes of the answer arrive."""
        self.relay.cut_after(answered)

    def under_way(self, count):
        """Waits until so many commands wait for the server."""
        wait_for(lambda: self.proxy.admin("/api/v1/sessions")[1].count('"active"') == count, what=f"{count} commands under way")

    def close(self):
        for client in self.clients:
            client.close()
        self.relay.close()


class Marker:
    """Writes marks, each one once, and reads back those that were acknowledged, until it is stopped. `do(method, *arguments, **options)` calls a
    method of a collection, and raises `refused` where the server refuses."""

    def __init__(self, do, refused, number):
        self.do, self.refused, self.number = do, refused, number
        self.stopping = threading.Event()
        self.acknowledged, self.unknown, self.missed = [], [], []
        self.work = Background(self.run)

    def run(self):
        for step in range(10**9):
            if self.stopping.is_set():
                return
            key, mark = f"{self.number}-{step // MARKS}", f"{self.number}-{step}"
            try:
                self.do("update_one", {"_id": key}, {"$push": {"marks": mark}, **INCREMENT}, upsert=True)
                self.acknowledged.append(mark)
            except self.refused as error:
                if not is_unknown(error):
                    raise
                self.unknown.append(mark)
            if step % 3 == 2:
                found = (self.do("find_one", {"_id": key}) or {}).get("marks", [])
                self.missed += [one for one in self.acknowledged if int(one.split("-")[1]) // MARKS == step // MARKS and one not in found]


class Markers:
    """Several, as a context manager that ends when each of them has ended. `seed` is for the messages."""

    def __init__(self, all_of_them, seed):
        self.all, self.seed = all_of_them, seed

    def go_on(self):
        """Waits until each has written once more."""
        before = [len(one.acknowledged) for one in self.all]
        wait_for(lambda: all(len(one.acknowledged) > count or one.work.is_done for one, count in zip(self.all, before)), 30.0,
                 f"a write of each client (seed {self.seed})")

    def uncertain(self):
        return {mark for one in self.all for mark in one.unknown}

    def __enter__(self):
        return self

    def __exit__(self, failure, *_):
        for one in self.all:
            one.stopping.set()
        if failure is None:
            for one in self.all:
                one.work.result()

    def judge(self, stored):
        """Of the documents that the server has, behind the end: what was acknowledged is among them, and nothing twice."""
        seed = self.seed
        there = {one["_id"]: one for one in stored}
        copies = collections.Counter(mark for one in there.values() for mark in one["marks"])
        acknowledged = {mark for one in self.all for mark in one.acknowledged}
        assert not [mark for mark, count in copies.items() if count > 1], f"doubled (seed {seed})"
        assert not acknowledged - set(copies), f"lost (seed {seed})"
        assert not set(copies) - acknowledged - self.uncertain(), f"nobody was told of them (seed {seed})"
        assert not [mark for one in self.all for mark in one.missed], f"read stale (seed {seed})"
        assert [one for one in there.values() if one["n"] != len(one["marks"])] == []
