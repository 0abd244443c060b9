"""Sends the requests of a captured exchange to a model and compares the shape of each reply with what a real server answered."""

import json
import pathlib
import socket
import struct

import bson
from bson import Int64, ObjectId, json_util
from bson.codec_options import CodecOptions, DatetimeConversion

from support.mongo_model.wire import CHECKSUM, HEADER, OP_MSG, OP_QUERY, OP_REPLY, crc32c
from support.mongo_shape import differences, shape

FIXTURES = pathlib.Path(__file__).resolve().parents[1] / "fixtures" / "mongo"
OPTIONS = json_util.JSONOptions(json_mode=json_util.JSONMode.CANONICAL, document_class=dict)
DECODING = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS, unicode_decode_error_handler="replace")
CLUSTER_FIELDS = ("$clusterTime", "operationTime")
PATIENCE = 5.0


def scenarios(file):
    """{scenario: its lines} of a fixture."""
    found = {}
    with open(FIXTURES / f"{file}.jsonl", encoding="utf-8") as lines:
        for line in map(json.loads, lines):
            found.setdefault(line["scenario"], []).append(line)
    return found


class Wire:
    """One connection that sends what it is told and gives back (flags, document), "closed" or "none"."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=PATIENCE)
        self.data = b""
        self.number = 0

    def send(self, request, wrong_checksum=False):
        """A request of a fixture; its request id."""
        self.number += 1
        if "raw_hex" in request:
            self.socket.sendall(bytes.fromhex(request["raw_hex"]))
            return
        body = bson.encode(request["doc"])
        flags = request.get("flags", 0)
        if request.get("opcode", OP_MSG) == OP_QUERY:
            data = struct.pack("<i", flags) + request["fullCollectionName"].encode() + b"\0" + struct.pack(
                "<ii", request.get("numberToSkip", 0), request.get("numberToReturn", -1)) + body
        else:
            data = struct.pack("<IB", flags, 0) + body
            for section in request.get("sections", ()):
                inner = section["identifier"].encode() + b"\0" + b"".join(map(bson.encode, section["docs"]))
                data += b"\1" + struct.pack("<i", len(inner) + 4) + inner
        is_checked = request.get("opcode", OP_MSG) == OP_MSG and flags & CHECKSUM
        data = HEADER.pack(16 + len(data) + (4 if is_checked else 0), self.number, 0, request.get("opcode", OP_MSG)) + data
        self.socket.sendall(data + (struct.pack("<I", crc32c(data) ^ wrong_checksum) if is_checked else b""))

    def receive(self, seconds):
        """The next message within `seconds`."""
        self.socket.settimeout(seconds)
        try:
            while len(self.data) < 16 or len(self.data) < HEADER.unpack_from(self.data)[0]:
                more = self.socket.recv(1 << 20)
                if not more:
                    return "closed"
                self.data += more
        except TimeoutError:
            return "none"
        except ConnectionError:
            return "closed"
        length, _, _, opcode = HEADER.unpack_from(self.data)
        message, self.data = self.data[16:length], self.data[length:]
        if opcode == OP_REPLY:
            flags, = struct.unpack_from("<i", message)
            return flags, bson.decode(message[20:], DECODING)
        flags, = struct.unpack_from("<I", message)
        return flags, bson.decode(message[5:-4] if flags & CHECKSUM else message[5:], DECODING)

    def close(self):
        self.socket.close()


def replayable(lines):
    """Without requests that were captured in part only, and what followed them on their connections."""
    cut, kept = set(), []
    for line in lines:
        request = line.get("request") or {}
        if "trimmed" in request or request.get("bytes", 0) > len(request.get("raw_hex", "")) // 2 or "compressed" in request \
                or not request.keys() & {"doc", "raw_hex"} and line.get("request") is not None:
            cut.add(line.get("conn"))
        if line.get("conn") not in cut:
            kept.append(line)
    return kept


class Replay:
    """One scenario on a model. `before` maps a step to what is done just before it is sent: a function of the model."""

    def __init__(self, lines, address_of, before=None, without_cluster_time=False):
        self.lines = replayable([line for line in lines if "event" not in line])
        self.address_of = address_of
        self.before = before or {}
        self.without_cluster_time = without_cluster_time
        self.wires, self.cursors, self.topologies = {}, {}, {}
        self.waiting = []
        self.found = {}

    def run(self):
        """{step: [differences]} for each step that differs."""
        for index, line in enumerate(self.lines):
            self._collect(line["at_ms"])
            if line["step"] in self.before:
                self.before[line["step"]]()
            wire = self._wire(line)
            if line.get("request") is not None:
                try:
                    wire.send(self._translated(line["request"]), wrong_checksum="wrong CRC" in line.get("note", ""))
                except (ConnectionError, BrokenPipeError):
                    pass
            following = self.lines[index + 1]["at_ms"] if index + 1 < len(self.lines) else None
            done = line["at_ms"] + max(line["reply"].get("after_ms", 0), 0)
            if following is not None and done > following + 20 and self.lines[index + 1].get("conn") != line.get("conn"):
                self.waiting.append((done, line, wire))
            else:
                self._judge(line, wire)
        self._collect(float("inf"))
        for wire in self.wires.values():
            wire.close()
        return self.found

    def _wire(self, line):
        name = (line.get("conn"), line.get("node"))
        if name not in self.wires:
            self.wires[name] = Wire(self.address_of(line))
        return self.wires[name]

    def _collect(self, now):
        for one in sorted([one for one in self.waiting if one[0] <= now], key=lambda one: one[0]):
            self.waiting.remove(one)
            self._judge(one[1], one[2])

    def _translated(self, request):
        """The request with the model's cursors and topology versions instead of the captured ones."""
        if "doc" not in request:
            return request
        decoded = json_util.loads(json.dumps(request), json_options=OPTIONS)
        document = decoded["doc"]
        if "getMore" in document and int(document["getMore"]) in self.cursors:
            document["getMore"] = self.cursors[int(document["getMore"])]
        if isinstance(document.get("cursors"), list):
            document["cursors"] = [self.cursors.get(int(one), one) if isinstance(one, int) else one for one in document["cursors"]]
        version = document.get("topologyVersion")
        if isinstance(version, dict) and str(version.get("processId")) in self.topologies:
            captured, (process, counter) = self.topologies[str(version["processId"])]
            kind = type(version["counter"])
            moved = version["counter"] - captured + counter if version["counter"] >= captured - 10 else version["counter"]
            document["topologyVersion"] = {"processId": ObjectId(process), "counter": Int64(moved) if kind is Int64 else moved}
        return decoded

    def _judge(self, line, wire):
        expected = line["reply"]
        problems = self._compared(line, expected, wire)
        if problems:
            self.found[line["step"]] = problems

    def _compared(self, line, expected, wire):
        if expected.get("open"):
            return [] if wire.receive(0.03) == "none" else ["expected the socket to stay open"]
        if expected.get("none"):
            answer = wire.receive(0.15)
            return [] if answer == "none" else [f"expected no reply, found {answer}"]
        answer = wire.receive(PATIENCE + expected.get("after_ms", 0) / 1000)
        if expected.get("closed"):
            return [] if answer == "closed" else [f"expected the connection to be closed, found {answer}"]
        if isinstance(answer, str):
            return [f"expected a reply, found {answer}"]
        flags, document = answer
        cursor = document.get("cursor")
        if "cursor" in expected and isinstance(cursor, dict) and cursor.get("id"):
            self.cursors[expected["cursor"]] = cursor["id"]
        if "topology" in expected and "topologyVersion" in document:
            version = document["topologyVersion"]
            self.topologies[expected["topology"][0]] = (expected["topology"][1], (version["processId"], int(version["counter"])))
        wanted, mine = expected.get("shape"), shape(document)
        if wanted is None:
            return []
        if self.without_cluster_time:
            for one in (wanted, mine):
                for name in CLUSTER_FIELDS:
                    one.pop(name, None)
        lines = differences(wanted, mine)
        return lines + ([f"flags: expected {expected['flags']}, found {flags}"] if expected.get("flags", flags) != flags else [])
