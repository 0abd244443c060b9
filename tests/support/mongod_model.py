"""A stand-in for the program mongod: takes its command line and is, for whoever starts, kills and asks it, one member of a set.

    python tests/support/mongod_model.py --dbpath DIR --port N --replSet NAME …

It is there to test `mongod_set.py` and `member_relay.py` where no mongod is, and shows nothing of real servers. The members are those of the
model set, all in one process, the hub, which the first one starts and which has their data; a process here is a member's door: while it
lives the member does, while it is stopped the member is frozen. The members reach each other by their addresses in the configuration, so
whatever stands before those can part them.
"""

import argparse
import asyncio
import fcntl
import json
import os
import pathlib
import subprocess
import sys
import time

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

from support.member_relay import body_of, op_msg, read_message  # noqa: E402
from support.mongo_model import wire  # noqa: E402
from support.mongo_model.cluster import Cluster, Settings  # noqa: E402
from support.waiting import free_port, wait_for  # noqa: E402

WIRE = int(os.environ.get("MONGOD_MODEL_WIRE", "21"))
LOOK_SECONDS, BEAT_SECONDS, UNREACHED_SECONDS = 0.05, 0.1, 1.0
NOBODY_SECONDS = 120.0


def parsed():
    """What MongodSet gives a mongod; anything else is refused, as a mongod does."""
    parser = argparse.ArgumentParser(prog="mongod", allow_abbrev=False)
    parser.add_argument("--dbpath", type=pathlib.Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--replSet", required=True)
    parser.add_argument("--bind_ip", choices=["127.0.0.1"], required=True)
    parser.add_argument("--nounixsocket", action="store_true")
    parser.add_argument("--setParameter", action="append", default=[])
    parser.add_argument("--wiredTigerCacheSizeGB", type=float)
    parser.add_argument("--oplogSize", type=int)
    parser.add_argument("--networkMessageCompressors", choices=["disabled"])
    return parser.parse_args()


async def pipe(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()


class Door:
    """The process that stands for a member."""

    def __init__(self, options):
        self.options, self.path = options, options.dbpath.parent / "hub"
        self.open = set()  # asyncio itself forgets a connection of which one half has ended

    def hub_is_there(self):
        with open(self.path.with_suffix(".lock"), "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self.path.exists():
                with open(self.path.with_suffix(".log"), "ab") as log:
                    subprocess.Popen([sys.executable, __file__, "--hub", str(self.path)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                     start_new_session=True)
                wait_for(self.path.exists, 10.0, "the hub")

    async def run(self):
        control, answer = await asyncio.open_unix_connection(str(self.path))
        answer.write(json.dumps({"port": self.options.port, "set": self.options.replSet, "pid": os.getpid()}).encode() + b"\n")
        self.inner = json.loads(await control.readline())["port"]
        server = await asyncio.start_server(self._accept, "127.0.0.1", self.options.port, reuse_address=True)
        print(f"member on port {self.options.port}, in the hub on {self.inner}", flush=True)
        await control.read()  # it has shut down, or there is no hub any more
        server.close()

    async def _accept(self, reader, writer):
        try:
            inner = await asyncio.open_connection("127.0.0.1", self.inner)
        except OSError:
            writer.transport.abort()
            return
        both = asyncio.gather(pipe(reader, inner[1]), pipe(inner[0], writer))
        self.open.add(both)
        await both
        self.open.discard(both)
        for one in (writer, inner[1]):
            one.close()


class Seat:
    """A member as the hub has it: before the set is initiated it answers little, after that it is one of the cluster's."""

    def __init__(self, hub, port):
        self.hub, self.port, self.inner = hub, port, free_port()
        self.member = self.pid = self.control = None
        self.frozen = False
        self._server = None

    async def take(self, pid, control):
        if self.control:  # the door before has died, and that has not been read yet
            await self.leave(self.control)
        if self.member:
            await self.member.start()
        else:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.inner)
        self.pid, self.control = pid, control

    async def leave(self, control):
        if control is not self.control:
            return
        self.pid = self.control = None
        self.frozen = False
        if self.member:
            self.member.hold = False  # a fail point of the process
            await self.member.end()
        elif self._server:
            self._server.close()

    def look(self):
        """What has become of the door."""
        if not self.member or not self.control:
            return
        if not self.member.running:
            self.control.close()
            return
        try:
            stopped = pathlib.Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "T"
        except OSError:
            return
        if stopped != self.frozen:
            self.frozen = stopped
            self.member.freeze() if stopped else self.member.thaw(0)  # pylint: disable=expression-not-assigned

    def make_room(self, member, address):
        """The member, which has not started yet, will listen here."""
        self._server.close()
        member.port, member.address = self.inner, address

    async def _accept(self, reader, writer):
        try:
            while True:
                header, head, body = await wire.read_message(reader)
                request = wire.parse(header, head, body)
                writer.write(wire.reply(request, await self._answer(request.doc))[0])
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    async def _answer(self, command):
        name = next(iter(command))
        if name in ("hello", "isMaster", "ismaster"):
            return {"isWritablePrimary": False, "secondary": False, "isreplicaset": True, "info": "Does not have a valid replica set config",
                    "minWireVersion": 0, "maxWireVersion": WIRE, "ok": 1.0}
        if name == "_isSelf":
            return {"id": self.port, "ok": 1.0}
        if name == "replSetInitiate":
            await self.hub.initiate(command[name])
            return {"ok": 1.0}
        return {"ok": 0.0, "code": 94, "codeName": "NotYetInitialized", "errmsg": "no replset config has been received"}


class PartedCluster(Cluster):
    """Its members reach each other as far as their messages do."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.heard = {}

    def reach(self, one, other):
        if one is other:
            return True
        now = time.monotonic()
        return super().reach(one, other) and all(now - self.heard.get(way, now) < UNREACHED_SECONDS
                                                 for way in ((one.index, other.index), (other.index, one.index)))

    async def beat(self, one, other, port):
        """`one` asks `other` again and again, and says in its hello that it listens on `port`, as servers that take test commands do."""
        while True:
            writer = None
            try:
                host, its_port = other.address.split(":")
                reader, writer = await asyncio.open_connection(host, int(its_port))
                while one.running:
                    writer.write(op_msg({"hello": 1, "hostInfo": f"model:{port}", "$db": "admin"}))
                    await read_message(reader)
                    self.heard[one.index, other.index] = time.monotonic()
                    await asyncio.sleep(BEAT_SECONDS)
            except (OSError, asyncio.IncompleteReadError):
                pass
            if writer:
                writer.close()
            await asyncio.sleep(BEAT_SECONDS)


class Hub:
    """All members of the set, and their data."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.seats = {}
        self.cluster = None
        self.beats = []

    async def run(self):
        beside = self.path.with_suffix(".new")
        await asyncio.start_unix_server(self._accept, str(beside))
        beside.rename(self.path)
        occupied = time.monotonic()
        while self.path.exists() and time.monotonic() - occupied < NOBODY_SECONDS:
            await asyncio.sleep(LOOK_SECONDS)
            for seat in self.seats.values():
                seat.look()
                occupied = time.monotonic() if seat.control else occupied

    async def _accept(self, reader, writer):
        order = json.loads(await reader.readline())
        seat = self.seats.setdefault(order["port"], Seat(self, order["port"]))
        await seat.take(order["pid"], writer)
        writer.write(json.dumps({"port": seat.inner}).encode() + b"\n")
        await reader.read()
        await seat.leave(writer)

    async def initiate(self, config):
        """Each address of the configuration is asked who is there, as servers look for themselves."""
        hosts = [one["host"] for one in config["members"]]
        ports = [await self._who(host) for host in hosts]
        seconds = config.get("settings", {}).get("electionTimeoutMillis", 10_000) / 1000
        self.cluster = PartedCluster(len(hosts), "replica_set", None, 0, 0, Settings(wire=WIRE, set_name=config["_id"], election=seconds))
        for member, host, port in zip(self.cluster.members, hosts, ports):
            self.seats[port].make_room(member, host)
        await self.cluster.start()
        for member, port in zip(self.cluster.members, ports):
            self.seats[port].member = member
        self.beats = [asyncio.create_task(self.cluster.beat(one, other, ports[one.index]))
                      for one in self.cluster.members for other in self.cluster.members if one is not other]

    @staticmethod
    async def _who(host):
        address, port = host.split(":")
        reader, writer = await asyncio.open_connection(address, int(port))
        writer.write(op_msg({"_isSelf": 1, "$db": "admin"}))
        (_, _, _, opcode), data = await read_message(reader)
        writer.close()
        return wire.bson.decode(body_of(opcode, data))["id"]


def main():
    if sys.argv[1:2] == ["--hub"]:
        asyncio.run(Hub(sys.argv[2]).run())
        return
    options = parsed()
    door = Door(options)
    door.hub_is_there()
    asyncio.run(door.run())


if __name__ == "__main__":
    main()
