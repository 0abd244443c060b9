"""MongoDB's wire protocol: reads whole messages, checks them as a server does, and writes replies. Knows no command."""

import itertools
import struct
from dataclasses import dataclass, field

import bson
from bson.codec_options import CodecOptions, DatetimeConversion

from support.mongo_model import compression
from support.mongo_model.errors import BadMessage, CommandError

OP_REPLY, OP_UPDATE, OP_INSERT, OP_QUERY, OP_GET_MORE, OP_DELETE, OP_KILL_CURSORS = 1, 2001, 2002, 2004, 2005, 2006, 2007
OP_COMPRESSED, OP_MSG = 2012, 2013
LEGACY = {OP_UPDATE, OP_INSERT, OP_GET_MORE, OP_DELETE, OP_KILL_CURSORS}
CHECKSUM, MORE_TO_COME, EXHAUST_ALLOWED = 1, 2, 1 << 16
MESSAGE_MAX = 48_000_000
HEADER = struct.Struct("<iiii")
OPTIONS = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS, unicode_decode_error_handler="replace")

_ids = itertools.count(1)


@dataclass
class Request:
    """One request: `doc` holds the command with its document sequences folded in."""
    opcode: int
    request_id: int
    flags: int = 0
    doc: dict = field(default_factory=dict)
    namespace: str = ""
    skip: int = 0
    wanted: int = -1
    compressor: int = None
    problem: CommandError = None
    size: int = 0

    @property
    def wants_no_reply(self):
        return self.opcode == OP_MSG and bool(self.flags & MORE_TO_COME)


def _crc_table():
    table = []
    for number in range(256):
        for _ in range(8):
            number = (number >> 1) ^ (0x82F63B78 if number & 1 else 0)
        table.append(number)
    return table


_TABLE = _crc_table()


def crc32c(data):
    """The Castagnoli checksum that OP_MSG carries."""
    value = 0xFFFFFFFF
    for byte in data:
        value = _TABLE[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


async def read_message(reader):
    """The next message as (header tuple, body), or None at the end of the stream."""
    head = await reader.readexactly(16)
    length, request_id, response_to, opcode = HEADER.unpack(head)
    if length < 16 or length > MESSAGE_MAX:
        raise BadMessage(f"message length {length}")
    return (length, request_id, response_to, opcode), head, await reader.readexactly(length - 16)


def parse(header, head, body):
    """A Request from one message; errors that a server answers are put into it, others raise BadMessage."""
    _, request_id, _, opcode = header
    compressor = None
    if opcode == OP_COMPRESSED:
        opcode, body, compressor = _decompress(body)
        head = None
    request = Request(opcode, request_id, compressor=compressor, size=len(body))
    try:
        if opcode == OP_MSG:
            _parse_msg(request, head, body)
        elif opcode == OP_QUERY:
            _parse_query(request, body)
        elif opcode not in LEGACY and opcode != 0:
            raise BadMessage(f"opcode {opcode}")
    except CommandError as problem:
        request.problem = problem
    return request


def _decompress(body):
    if len(body) < 9:
        raise BadMessage("compressed message too short")
    opcode, size, compressor = struct.unpack_from("<iiB", body)
    if size < 0 or size > MESSAGE_MAX:
        raise BadMessage("uncompressed size")
    return opcode, compression.unpack(body[9:], compressor, size), compressor


def _document(data, offset, end):
    """(document, offset behind it)."""
    if end - offset < 5:
        raise CommandError(22, "Invalid BSON: document too short")
    size, = struct.unpack_from("<i", data, offset)
    if size < 5 or offset + size > end:
        raise CommandError(10334, f"BSONObj size: {size} is invalid.") if size > 16793600 else CommandError(22, "Invalid BSON: length")
    try:
        return bson.decode(data[offset:offset + size], OPTIONS), offset + size
    except Exception as error:
        raise CommandError(22, f"Invalid BSON: {error}") from error


def _parse_msg(request, head, body):
    if len(body) < 4:
        raise BadMessage("OP_MSG without flags")
    request.flags, = struct.unpack_from("<I", body)
    if request.flags & 0xFFFF & ~(CHECKSUM | MORE_TO_COME):
        raise BadMessage(f"unknown required flag {request.flags}")
    end = len(body)
    if request.flags & CHECKSUM:
        end -= 4
        if head is not None and struct.unpack_from("<I", body, end)[0] != crc32c(head + body[:end]):
            raise BadMessage("checksum")
    offset, found, sequences = 4, None, {}
    while offset < end:
        kind = body[offset]
        offset += 1
        if kind == 0:
            if found is not None:
                raise CommandError(40430, "Multiple body sections in message")
            found, offset = _document(body, offset, end)
        elif kind == 1:
            name, documents, offset = _sequence(body, offset, end)
            if name in sequences:
                raise CommandError(40431, f"Duplicate document sequence: {name}")
            sequences[name] = documents
        else:
            raise CommandError(40432, f"Unknown section kind {kind}")
    if found is None:
        raise CommandError(40587, "OP_MSG messages must have a body")
    for name, documents in sequences.items():
        if name in found:
            raise CommandError(40433, f"Duplicate field between body and document sequence {name}")
        found[name] = documents
    request.doc = found


def _sequence(body, offset, end):
    if end - offset < 4:
        raise CommandError(15, "Overflow: section too short")
    size, = struct.unpack_from("<i", body, offset)
    stop = offset + size
    zero = body.find(b"\0", offset + 4, max(stop, offset))
    if size < 5 or stop > end or zero < 0:
        raise CommandError(15, "Overflow: document sequence")
    name = body[offset + 4:zero].decode("utf-8", "replace")
    offset = zero + 1
    documents = []
    while offset < stop:
        document, offset = _document(body, offset, stop)
        documents.append(document)
    return name, documents, offset


def _parse_query(request, body):
    zero = body.find(b"\0", 4)
    if zero < 0 or len(body) < zero + 14:
        raise BadMessage("OP_QUERY too short")
    request.flags, = struct.unpack_from("<i", body)
    request.namespace = body[4:zero].decode("utf-8", "replace")
    request.skip, request.wanted = struct.unpack_from("<ii", body, zero + 1)
    request.doc, _ = _document(body, zero + 9, len(body))
    query = request.doc.get("$query", request.doc.get("query")) if next(iter(request.doc), "") in ("$query", "query") else None
    if isinstance(query, dict):
        preference = request.doc.get("$readPreference")
        request.doc = dict(query)
        if preference is not None:
            request.doc["$readPreference"] = preference
    if request.namespace.endswith(".$cmd"):
        request.doc.setdefault("$db", request.namespace[:-5])
        if request.flags & 4:
            request.doc.setdefault("$readPreference", {"mode": "secondaryPreferred"})


def next_id():
    return next(_ids) & 0x7FFFFFFF


def message(opcode, body, response_to, compressor=None):
    """A whole message and the request id that it got."""
    number = next_id()
    if compressor:
        body = struct.pack("<iiB", opcode, len(body), compressor) + compression.pack(body, compressor)
        opcode = OP_COMPRESSED
    return HEADER.pack(16 + len(body), number, response_to, opcode) + body, number


def reply(request, document, response_to=None, flags=0):
    """The answer to a request, in its opcode: (bytes, request id)."""
    data = bson.encode(document)
    to = request.request_id if response_to is None else response_to
    if request.opcode == OP_QUERY:
        failed = "$err" in document
        return message(OP_REPLY, struct.pack("<iqii", 2 if failed else 8, 0, 0, 1) + data, to, request.compressor)
    plain = struct.pack("<IB", flags | (request.flags & CHECKSUM), 0) + data
    if not request.flags & CHECKSUM or request.compressor:
        return message(OP_MSG, struct.pack("<I", flags) + plain[4:], to, request.compressor)
    number = next_id()
    whole = HEADER.pack(16 + len(plain) + 4, number, to, OP_MSG) + plain
    return whole + struct.pack("<I", crc32c(whole)), number
