"""Relays in front of the members of a real replica set: they strike at a command, at a connection or between two members.

Clients and the other members all come to a member's relay, because its port is the one in the set's configuration. A relay reads as much
of the wire protocol as tells it which command a message is and which reply answers it; it changes nothing that no test asked for.
"""

import asyncio
import collections
import socket
import struct
import threading

import bson

from support.mongo_model.errors import code_name, labels_for
from support.waiting import free_port

HEADER = struct.Struct("<iiii")
OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013
MORE_TO_COME, CHECKSUM = 2, 1
HELLO = ("hello", "ismaster")
LABELLED_FIELDS = ("operationTime", "$clusterTime")


async def read_message(reader):
    """(header, whole message) of the next one."""
    head = await reader.readexactly(16)
    header = HEADER.unpack(head)
    return header, head + await reader.readexactly(header[0] - 16)


def body_of(opcode, data):
    """The bytes of a message's command or reply; None where it has none that can be read, as where it is compressed."""
    if opcode == OP_QUERY:
        at = data.index(b"\0", 20) + 9
    elif opcode == OP_REPLY:
        at = 36
    elif opcode == OP_MSG:
        at = 20
        while data[at]:  # document sequences may stand before the body
            at += 1 + struct.unpack_from("<i", data, at + 1)[0]
        at += 1
    else:
        return None
    return data[at:at + struct.unpack_from("<i", data, at)[0]]


def name_of(body):
    """A command is its document's first key."""
    return body[5:body.index(b"\0", 5)].decode() if body and len(body) > 5 else ""


def op_msg(document, request_id=1, response_to=0):
    content = struct.pack("<IB", 0, 0) + bson.encode(document)
    return HEADER.pack(16 + len(content), request_id, response_to, OP_MSG) + content


class Pair:
    """One connection to a member and the relay's own behind it. `origin`: the port of the member that opened it, None for a client."""

    def __init__(self, relay, client, server):
        self.relay = relay
        self.client, self.server = client, server
        self.origin = None
        self.pending = {}

    async def serve(self):
        up, down = asyncio.create_task(self._to_server()), asyncio.create_task(self._to_client())
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            if not down.done():
                self.server[1].write_eof()  # whoever leaves has what it sent before executed
                await asyncio.wait({down})
        except (OSError, RuntimeError):
            pass  # the member's side is gone, too
        finally:
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            self.drop(self.relay.ends_with_reset)

    def drop(self, reset):
        for _, writer in (self.client, self.server):
            connection = writer.get_extra_info("socket")
            if reset and connection and not writer.transport.is_closing():
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            else:
                writer.close()

    async def _to_server(self):
        while True:
            (_, request_id, _, opcode), data = await read_message(self.client[0])
            body = body_of(opcode, data)
            name = name_of(body)
            if name.lower() in HELLO:
                self._learn_origin(bson.decode(body))
            if opcode != OP_MSG or not struct.unpack_from("<I", data, 16)[0] & MORE_TO_COME:
                self.pending[request_id] = name, body
            if self.origin is None:
                self.relay.counts[name] += 1
            await self._held_up(name, "before")
            self.server[1].write(data)
            await self.server[1].drain()

    def _learn_origin(self, hello):
        """Servers that take test commands say in their hello to each other who they are; MongoDB's own mongobridge goes by that, too."""
        if "hostInfo" in hello:
            self.origin = int(str(hello["hostInfo"]).rsplit(":", 1)[1])

    async def _to_client(self):
        while True:
            (_, reply_id, response_to, opcode), data = await read_message(self.server[0])
            name, body = self.pending.pop(response_to, ("", None))
            if opcode == OP_MSG and struct.unpack_from("<I", data, 16)[0] & MORE_TO_COME:
                self.pending[reply_id] = name, body
            if self.origin is not None and name == "getMore":
                await asyncio.sleep(self.relay.network.lag)
            if self.origin is None:
                data = self.relay.replaced(name, body, opcode, data)
                if data is None:
                    return
            await self._held_up(name, "after")
            data, is_last = self.relay.cut(self, name, data)
            self.client[1].write(data)
            await self.client[1].drain()
            if is_last:
                return

    async def _held_up(self, name, when):
        """Waits as long as the test's delays and partitions say."""
        await self.relay.passable(self)
        delay = self.relay.delay_of(self, name)
        if delay and delay["when"] == when:
            await self._delayed(delay, name)
            await self.relay.passable(self)

    async def _delayed(self, delay, name):
        held_back = self.relay.held_back if delay["when"] == "after" else []
        held_back.append(name)
        try:
            await asyncio.sleep(delay["ms"] / 1000)
        finally:
            held_back.remove(name)


class MemberRelay:
    """Listens on `port` for one member that listens on `target`. All but the constructor runs in its network's thread."""

    def __init__(self, network, target):
        self.network, self.target, self.port = network, target, free_port()
        self.pairs = set()
        self.held_back = []  # names of commands whose answers have come and wait for a delay
        self.counts = collections.Counter()
        self.delays, self.after, self.cut_at = [], [], None
        self.isolated = self.clients_cut = self.ends_with_reset = False
        self._server = None

    async def listen(self):
        if not self._server:
            self.ends_with_reset = False
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, backlog=1024, reuse_address=True)

    async def unlisten(self, reset):
        """Nobody listens any more; connections end so, whoever ends them."""
        self.ends_with_reset = reset
        if self._server:
            self._server.close()
            self._server = None

    async def drop(self, reset):
        for pair in list(self.pairs):
            pair.drop(reset)

    async def _accept(self, reader, writer):
        try:
            server = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        if not self._server:
            server[1].transport.abort()
            writer.transport.abort()
            return
        for one in (writer, server[1]):
            one.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair = Pair(self, (reader, writer), server)
        self.pairs.add(pair)
        try:
            await pair.serve()
        except asyncio.CancelledError:
            pass  # the network ends; Python 3.11 would print that of a server's connection
        finally:
            self.pairs.discard(pair)

    def _is_barred(self, pair):
        if pair.origin is None:
            return self.clients_cut
        return self.isolated or self.network.is_isolated(pair.origin)

    async def passable(self, pair):
        while self._is_barred(pair):
            await self.network.news.wait()

    def under_way(self):
        """The names of clients' commands that have no answer yet."""
        return [name for pair in self.pairs if pair.origin is None for name, _ in pair.pending.values()]

    def delay_of(self, pair, name):
        if pair.origin is None:
            for one in self.delays:
                if name in one["commands"] or not one["commands"] and name.lower() not in HELLO:
                    return one
        return None

    def replaced(self, name, body, opcode, data):
        """The reply, or what a test wants answered in its place; None: nothing, and the connection ends."""
        for fault in self.after:
            if name in fault["commands"] and fault["times"] > 0:
                fault["times"] -= 1
                if fault["form"] == "close":
                    return None
                return self._answered(fault, bson.decode(body), bson.decode(body_of(opcode, data)), data)
        return data

    @staticmethod
    def _answered(fault, request, reply, data):
        error = {"code": fault["code"], "codeName": code_name(fault["code"]), "errmsg": "operation was interrupted"}
        is_end = next(iter(request)) in ("commitTransaction", "abortTransaction")
        in_transaction, numbered = "autocommit" in request, "txnNumber" in request
        if fault["form"] == "writeErrors":
            reply.update(n=0, writeErrors=[{"index": 0, **error}])
        else:
            at_top = fault["form"] == "top"
            labels = labels_for(error["code"] if at_top else None, None if at_top else error["code"], in_transaction=in_transaction,
                                ends_transaction=is_end, retryable=numbered and not in_transaction)
            if at_top:
                reply = {"ok": 0.0, **error, **{field: reply[field] for field in LABELLED_FIELDS if field in reply}}
            else:
                reply["writeConcernError"] = error
            reply.update({"errorLabels": labels} if labels else {})
        _, reply_id, response_to, _ = HEADER.unpack_from(data)
        return op_msg(reply, reply_id, response_to)

    def cut(self, pair, name, data):
        """(what of it may pass, whether the connection ends then)."""
        if pair.origin is not None or not self.cut_at or self.cut_at["commands"] and name not in self.cut_at["commands"]:
            return data, False
        if len(data) >= self.cut_at["bytes"]:
            data, self.cut_at = data[:self.cut_at["bytes"]], None
            return data, True
        self.cut_at["bytes"] -= len(data)
        return data, False


class Network:
    """The relays of one set, in a thread of their own."""

    def __init__(self, targets):
        self.loop = asyncio.new_event_loop()
        self.news = asyncio.Event()
        self.lag = 0.0
        self.relays = [MemberRelay(self, one) for one in targets]
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def call(self, function, *arguments):
        """Runs a function or a coroutine function in the network's thread; its result."""
        async def run():
            result = function(*arguments)
            return await result if asyncio.iscoroutine(result) else result
        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(30)

    def is_isolated(self, target):
        return any(one.isolated for one in self.relays if one.target == target)

    def change(self, relay, **values):
        """Sets fields of one relay and wakes whoever waits for such a change."""
        for name, value in values.items():
            setattr(relay, name, value)
        self.news.set()
        self.news = asyncio.Event()

    def close(self):
        async def end():
            for one in self.relays:
                await one.unlisten(True)
                await one.drop(True)
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
        self.call(end)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()
