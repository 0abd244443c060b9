"""Makes tests/fixtures/mongo from the full captures: `trim_mongo_captures.py FROM TO` keeps requests and the shapes of replies.

Dropped are polls and streams (they are about time), values of replies, and of each line what a replay does not need.
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from bson import json_util  # noqa: E402

from support.mongo_shape import shape  # noqa: E402

FILES = ("01-handshake", "06-secondary-reads-writes", "07-retryable-writes", "08-transactions", "09-cursors",
         "10-wire-protocol", "11-sessions-clustertime")
OPTIONS = json_util.JSONOptions(json_mode=json_util.JSONMode.CANONICAL, document_class=dict)
NOISE = ("/hello-every-50ms", "replSetInitiate")


def decoded(value):
    return json_util.loads(json.dumps(value), json_options=OPTIONS)


def trimmed(line):
    """One line of a fixture, or None."""
    if line["scenario"].endswith(NOISE) or line.get("conn") and line["conn"].startswith(("poll-", "stream-")):
        return None
    kept = {name: line[name] for name in ("scenario", "step", "at_ms", "node", "conn", "event") if line.get(name) is not None}
    if "event" in line:
        kept["event"] = line["event"][:80]
        return kept
    kept["note"] = line.get("note", "")[:60]
    if line["request"] is not None:
        kept["request"] = line["request"]
    reply = line["reply"]
    kept["reply"] = {name: reply[name] for name in ("closed", "none", "open", "after_ms", "waited_ms", "flags", "opcode", "cursorID")
                     if name in reply}
    document = reply.get("doc") or (reply.get("docs") or [None])[0]
    if document is not None:
        document = decoded(document)
        kept["reply"]["shape"] = shape(document)
        cursor = document.get("cursor")
        if isinstance(cursor, dict) and cursor.get("id"):
            kept["reply"]["cursor"] = int(cursor["id"])
        if "topologyVersion" in document:
            kept["reply"]["topology"] = [str(document["topologyVersion"]["processId"]), int(document["topologyVersion"]["counter"])]
        if "payload" in document:
            kept["reply"]["payload"] = bytes(document["payload"]).decode("latin-1")
    return kept


def main(source, target):
    for name in FILES:
        with open(pathlib.Path(source) / f"{name}.jsonl", encoding="utf-8") as lines:
            kept = [one for one in (trimmed(json.loads(line)) for line in lines) if one]
        path = pathlib.Path(target) / f"{name}.jsonl"
        path.write_text("".join(json.dumps(one, separators=(",", ":"), ensure_ascii=False) + "\n" for one in kept), encoding="utf-8")
        print(f"{path}: {len(kept)} lines, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:3])
