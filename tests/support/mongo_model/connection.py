"""One client connection of a member: reads requests, lets the dispatcher answer, sends replies, and plays the faults of the network."""

import asyncio
import socket
import ssl
import struct

from bson import Timestamp

from support.mongo_model import compression, wire
from support.mongo_model.errors import DropConnection


class Connection:
    """What a member knows of one socket: who logged in on it, and what its hello said."""

    def __init__(self, member, reader, writer, number):
        self.member = member
        self.reader = reader
        self.writer = writer
        self.number = number
        self.said_hello = False
        self.metadata = None
        self.app_name = None
        self.compression = None
        self.users = []
        self.login = None
        self.exhaust = None
        self.last_optime = Timestamp(0, 0)
        self.peer = writer.get_extra_info("peername")
        self._task = asyncio.current_task()
        self._dropped = False

    @property
    def user(self):
        """The one user of this connection, or None."""
        return self.users[0] if self.users else None

    async def serve(self):
        """Until either side closes."""
        self._socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while True:
                header, head, body = await wire.read_message(self.reader)
                await self.member.gate.wait()
                await self._answer(wire.parse(header, head, body))
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError, wire.BadMessage, DropConnection):
            pass
        except asyncio.CancelledError:
            # The process died: nobody is left who would want to know.
            pass
        finally:
            self.writer.close()

    async def _answer(self, request):
        from support.mongo_model import dispatch
        if request.problem:
            await self._send(request, dispatch.error_reply(self.member, request.problem))
            return
        if request.opcode == 0:
            return
        if request.compressor:
            self._check_compressed(request)
        if request.opcode in wire.LEGACY:
            raise DropConnection
        self.member.counts[next(iter(request.doc), "")] += 1
        delay = self._delay(request)
        if delay and delay["when"] == "before":
            await asyncio.sleep(delay["ms"] / 1000)
        document, op = await dispatch.run(self.member, self, request)
        if delay and delay["when"] == "after":
            await asyncio.sleep(delay["ms"] / 1000)
        if request.wants_no_reply:
            if document is not None and document.get("code") in (10107, 13435, 13436, 189, 11602):
                raise DropConnection
            return
        if request.opcode == wire.OP_QUERY and document.get("ok") != 1.0 and not request.namespace.endswith(".$cmd"):
            document = {"$err": document.get("errmsg"), "code": document.get("code"), "ok": 0.0}
        number = await self._send(request, document, more=self.exhaust is not None)
        if op:
            op.acknowledged(document)
        while self.exhaust is not None:
            document = await self.exhaust()
            if document is None:
                self.exhaust = None
                return
            more = self.exhaust is not None
            number = await self._send(request, document, to=number, more=more)

    def _check_compressed(self, request):
        """Counts it by its compressor; what was not negotiated, or must not be compressed, ends the connection."""
        name = compression.NAMES[request.compressor]
        if name not in (self.compression or ()) or next(iter(request.doc), "").lower() in compression.NEVER:
            raise wire.BadMessage(f"{name} for {next(iter(request.doc), '')}")
        self.member.compressed[name] = self.member.compressed.get(name, 0) + 1

    def _delay(self, request):
        name = next(iter(request.doc), "")
        for one in self.member.faults["delay"]:
            if name in one["commands"] or not one["commands"] and name.lower() not in ("hello", "ismaster"):
                return one
        return None

    async def _send(self, request, document, to=None, more=False):
        data, number = wire.reply(request, document, to, wire.MORE_TO_COME if more else 0)
        await self.member.gate.wait()
        settings = self.member.cluster.settings
        if request.compressor and settings.broken_replies:
            settings.broken_replies -= 1
            data = data[:25] + bytes(byte ^ 0xFF for byte in data[25:])
        cut = self.member.faults["cut"]
        name = next(iter(request.doc), "")
        if cut and (not cut["commands"] or name in cut["commands"]):
            if len(data) >= cut["bytes"]:
                self.member.faults["cut"] = None
                self.writer.write(data[:cut["bytes"]])
                await self.writer.drain()
                raise DropConnection
            cut["bytes"] -= len(data)
        self.writer.write(data)
        await self.writer.drain()
        return number

    def _socket(self):
        return self.writer.get_extra_info("socket")

    def drop(self, reset):
        """Ends the connection at once: with RST, or with FIN."""
        if self._dropped:
            return
        self._dropped = True
        if reset:
            try:
                if self._socket():  # under TLS a connection that is closing has none any more
                    self._socket().setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            except OSError:
                pass
            self.writer.transport.abort()
        else:
            self.writer.close()

    def cancel(self):
        self._task.cancel()
