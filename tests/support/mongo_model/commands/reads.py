"""find, aggregate, count, distinct, and the cursors that find and aggregate leave: getMore, killCursors."""

import asyncio

from bson import Int64

from support.mongo_model import change_streams, oplog, pipeline, plans
from support.mongo_model.commands.writes import found, view
from support.mongo_model.cursors import Cursor
from support.mongo_model.errors import CommandError
from support.mongo_model.paths import candidates
from support.mongo_model.projection import projected
from support.mongo_model.registry import DATA, READ, command
from support.mongo_model.store import new_identity
from support.mongo_model.values import MISSING, sort_key
from support.mongo_model.wire import EXHAUST_ALLOWED, OP_MSG

FIRST_BATCH = 101
BATCH_BYTES = 16 * 1024 * 1024


class Seen:
    """What a read sees, by its read concern."""

    def __init__(self, op):
        self.transaction = op.transaction
        self.member = op.member
        level = op.doc.get("readConcern", {}).get("level") if isinstance(op.doc.get("readConcern", {}), dict) else None
        if level is not None and level not in ("local", "majority", "linearizable", "available", "snapshot"):
            raise CommandError(9, "readConcern.level must be either 'local', 'majority', 'linearizable', 'available', or 'snapshot'")
        if level == "linearizable" and not op.member.in_set:
            raise CommandError(123, "node needs to be a replica set member to use read concern linearizable")
        if level == "snapshot" and not op.transaction and op.member.cluster.settings.wire < 13:
            raise CommandError(72, "read concern level snapshot is only valid in a transaction")
        self.at = None
        if level == "snapshot" and not op.transaction:
            self.at = op.doc["readConcern"].get("atClusterTime") or op.member.committed_time
            self.store = op.member.store_at(self.at)
        else:
            self.store = op.member.majority_store() if level == "majority" and not op.transaction else view(op)
        self.database = op.database

    def fields(self):
        """What a snapshot read says of its time."""
        return {} if self.at is None else {"atClusterTime": self.at}

    def read(self, name):
        return list(self.store.documents(f"{self.database}.{name}").values())


def first_batch(op, namespace, documents, batch_size, single=False, more=None, await_data=False, **fields):
    """The reply that opens a cursor; its id is 0 where nothing is left."""
    if batch_size is not None and batch_size < 0:
        if op.name == "find":
            raise CommandError(51024, f"BSON field 'batchSize' value must be >= 0, actual value '{batch_size}'")
        raise CommandError(2, "batchSize must be non-negative")
    cursor = Cursor(namespace, documents, op, more, await_data)
    size = None if batch_size is None else int(batch_size)
    first = cursor.take(FIRST_BATCH if size is None else size, BATCH_BYTES)
    is_open = not single and cursor.is_open(first, size)
    if is_open:
        op.member.cursors.add(cursor)
        _keep_limit(op, cursor)
    if cursor.is_change_stream:
        fields["postBatchResumeToken"] = more.token(first, bool(cursor.documents))
    return {"cursor": {**fields, "firstBatch": first, "id": cursor.id if is_open else Int64(0), "ns": namespace}}


def _keep_limit(op, cursor):
    """A find's maxTimeMS is the time of all its batches together."""
    if op.deadline is not None and not cursor.await_data:
        cursor.seconds_left = op.deadline - asyncio.get_running_loop().time()


@command("find", needs=READ, transaction=True)
async def find(op):
    doc = op.doc
    if not isinstance(doc["find"], str):
        raise CommandError(9, "Failed to parse: 'find' field must be of BSON type string.")
    namespace = op.namespace()
    if "writeConcern" in doc and not op.transaction:
        raise CommandError(72, "Command does not support writeConcern")
    for name in doc:
        if name not in FIND_FIELDS and name not in ENVELOPE or name.startswith("api") and op.member.cluster.settings.wire < 13:
            raise CommandError(9, f"Failed to parse: {{ find: \"{doc['find']}\" }}. Unrecognized field '{name}'.")
    query = doc.get("filter", {})
    if not isinstance(query, dict):
        raise CommandError(9, "Failed to parse: 'filter' field must be of BSON type object.")
    limit = int(doc.get("limit", 0) or 0)
    if limit < 0:
        raise CommandError(2, f"Limit value must be non-negative, but received: {limit}")
    seen = Seen(op)
    await linearizable(op)
    documents = selected(op, doc, seen, namespace)
    if doc.get("awaitData") and not doc.get("tailable"):
        raise CommandError(9, "Cannot set 'awaitData' without also setting 'tailable'")
    if doc.get("tailable") and op.transaction:
        raise CommandError(72, "Tailable cursors are not allowed in transactions.")
    if doc.get("tailable"):
        return _tailable(op, namespace, documents, query)
    single = bool(doc.get("singleBatch")) or 0 < limit <= int(doc.get("batchSize") or FIRST_BATCH)
    document = first_batch(op, namespace, documents, doc.get("batchSize"), single, **seen.fields())
    return document


def selected(op, doc, seen, namespace):
    """The documents of a find, in order."""
    query, limit = doc.get("filter", {}), int(doc.get("limit", 0) or 0)
    if namespace == oplog.NAMESPACE:
        documents = pipeline.run(oplog.documents(op.member.log), [{"$match": query}], seen)
    else:
        index = plans.hinted(doc, namespace, seen.store.find(namespace))
        documents = plans.through(_matching(op, seen, namespace, query), doc, index)
    if doc.get("sort"):
        documents = pipeline.ordered(documents, doc["sort"])
    documents = documents[int(doc.get("skip", 0) or 0):]
    documents = documents[:limit] if limit else documents
    return [projected(one, doc["projection"]) for one in documents] if doc.get("projection") else documents


async def linearizable(op):
    """A linearizable read waits until a majority confirms that the primary still is one."""
    if op.doc.get("readConcern", {}).get("level") == "linearizable":
        if op.member.role != "primary":
            raise CommandError(10107, "cannot satisfy linearizable read concern on non-primary node")
        op.member.commit((), None)
        length = len(op.member.log)
        while op.member.commit_length < length:
            await op.wait(op.member.progress.next())


def _matching(op, seen, namespace, query):
    if seen.store is view(op):
        return found(op, namespace, query)
    return pipeline.run(list(seen.store.documents(namespace).values()), [{"$match": query}], seen)


def _tailable(op, namespace, documents, query):
    member = op.member
    if namespace == oplog.NAMESPACE:
        tail = oplog.Tail(member)
        return first_batch(op, namespace, documents, op.doc.get("batchSize"), await_data=bool(op.doc.get("awaitData")),
                           more=lambda: pipeline.run(tail(), [{"$match": query}], None))
    collection = member.store.find(namespace)
    if collection is None or not collection.documents:
        return first_batch(op, namespace, [], op.doc.get("batchSize"))
    if not collection.options.get("capped"):
        raise CommandError(2, f"error processing query: ns={namespace} tailable cursor requested on non capped collection")
    state = {"last": next(reversed(collection.documents), None)}

    def more():
        fresh, after = [], state["last"] is None
        now = member.store.documents(namespace)
        if state["last"] is not None and state["last"] not in now:
            raise CommandError(136, "CollectionScan died due to position in capped collection being deleted. "
                                    f"Last seen record id: {namespace}")
        for key, one in now.items():
            if after:
                fresh.append(one)
            after = after or key == state["last"]
        state["last"] = next(reversed(now), state["last"])
        return pipeline.run(fresh, [{"$match": query}], None)

    return first_batch(op, namespace, documents, op.doc.get("batchSize"), more=more, await_data=bool(op.doc.get("awaitData")))


ENVELOPE = {"$db", "$readPreference", "$clusterTime", "$client", "$configServerState", "$queryOptions", "$audit", "$replData",
            "$oplogQueryData"}
FIND_FIELDS = {"find", "filter", "sort", "projection", "hint", "skip", "limit", "batchSize", "singleBatch", "comment", "maxTimeMS",
               "readConcern", "max", "min", "returnKey", "showRecordId", "tailable", "oplogReplay", "noCursorTimeout", "awaitData",
               "allowPartialResults", "collation", "allowDiskUse", "let", "lsid", "txnNumber", "autocommit", "startTransaction",
               "ntoreturn", "snapshot", "writeConcern", "apiVersion", "apiStrict", "apiDeprecationErrors"}


@command("getMore", needs=DATA, transaction=True)
async def get_more(op):
    """The next batch; with exhaustAllowed the ones after it follow without a request."""
    document = await next_batch(op)
    if op.request.opcode == OP_MSG and op.request.flags & EXHAUST_ALLOWED and document["cursor"]["id"]:
        op.connection.exhaust = lambda: _following(op)
    return document


async def _following(op):
    from support.mongo_model import dispatch
    try:
        document = {**await next_batch(op), "ok": 1.0}
    except CommandError as error:
        op.connection.exhaust = None
        return dispatch.error_reply(op.member, error)
    if not document["cursor"]["id"]:
        op.connection.exhaust = None
    dispatch.gossip(op.member, document)
    return document


async def next_batch(op):
    doc = op.doc
    number = doc["getMore"]
    if not isinstance(number, Int64):
        raise CommandError(14, "Field 'getMore' must be of type long")
    if not isinstance(doc.get("collection"), str):
        raise CommandError(9, "Field 'collection' must be of type string")
    if number == 0:
        raise CommandError(2, "Cursor id for getMore must be non-zero")
    if doc.get("batchSize") is not None and doc["batchSize"] <= 0:
        raise CommandError(2, f"Batch size for getMore must be positive, but received: {doc['batchSize']}")
    cursors = op.member.cursors
    cursor = cursors.get(number)
    op.is_change_stream = cursor.is_change_stream
    _may(op, cursor)
    if "maxTimeMS" in doc and not cursor.await_data:
        raise CommandError(2, "cannot set maxTimeMS on getMore command for a non-awaitData cursor")
    if cursor.busy:
        raise CommandError(143, f"cursor id {int(number)} is already in use")
    cursor.busy = True
    try:
        await _fill(op, cursor)
    except CommandError:
        # A step down interrupts no read; what else ends one ends its cursor.
        cursors.close(cursor.id)
        raise
    finally:
        cursor.busy = False
    if int(cursor.id) not in cursors.open:
        raise CommandError(237, "operation was interrupted because a client killed the cursor")
    size = int(doc["batchSize"]) if doc.get("batchSize") else None
    batch = cursor.take(size, BATCH_BYTES)
    is_open = cursor.is_open(batch, size)
    if not is_open:
        cursors.close(cursor.id)
    _keep_limit(op, cursor)
    fields = {"postBatchResumeToken": cursor.more.token(batch, bool(cursor.documents))} if cursor.is_change_stream else {}
    return {"cursor": {"nextBatch": batch, **fields, "id": cursor.id if is_open else Int64(0), "ns": cursor.namespace}}


def _may(op, cursor):
    """A cursor may be read by its session, in its transaction, for its collection and by its user only."""
    if (op.connection.user and op.connection.user.digest) != (cursor.user and cursor.user.digest):
        raise CommandError(13, "cursor id was not created by the authenticated user")
    if cursor.namespace != f"{op.database}.{op.doc['collection']}":
        raise CommandError(13, f"Requested getMore on namespace '{op.database}.{op.doc['collection']}', but cursor belongs to a different "
                               f"namespace {cursor.namespace}")
    number = int(cursor.id)
    if cursor.lsid != op.lsid:
        code = 50736 if cursor.lsid is None else 50737 if op.lsid is None else 50738
        raise CommandError(code, f"Cannot run getMore on cursor {number}, which was created in another session")
    if cursor.transaction is not op.transaction:
        code = 50739 if cursor.transaction is None else 50740 if op.transaction is None else 50741
        raise CommandError(code, f"Cannot run getMore on cursor {number}, which was created in another transaction")


async def _fill(op, cursor):
    """Sees to it that a cursor has what the next batch takes, or raises what ends the cursor."""
    if cursor.killed:
        raise cursor.killed
    injected = op.member.fail_points.hit_place("failGetMoreAfterCursorCheckout")
    if injected is not None and "errorCode" in injected:
        raise CommandError(int(injected["errorCode"]), "Hit the 'failGetMoreAfterCursorCheckout' fail point")
    if cursor.seconds_left is not None:
        op.limit(cursor.seconds_left)
    await _wait_for_data(op, cursor)
    if cursor.killed:
        raise cursor.killed


async def _wait_for_data(op, cursor):
    """Fills a tailable cursor; one that awaits data waits until there is some, for maxTimeMS or a second."""
    if cursor.more is None:
        return
    loop = asyncio.get_running_loop()
    limit = op.doc.get("maxTimeMS")
    end = loop.time() + (1.0 if limit is None else limit / 1000)
    while True:
        cursor.documents += cursor.more()
        left = end - loop.time()
        if cursor.documents or not cursor.await_data or left <= 0 or getattr(cursor.more, "ended", False):
            return
        waiting = op.member.progress.next()
        await op.wait(waiting, left)
        if cursor.killed or int(cursor.id) not in op.member.cursors.open:
            return


@command("killCursors", needs=DATA, transaction=True)
async def kill_cursors(op):
    if not isinstance(op.doc.get("cursors"), list):
        raise CommandError(9, "Field 'cursors' must be of type array")
    if not op.doc["cursors"]:
        raise CommandError(2, "Must specify at least one cursor id")
    killed, unknown = [], []
    for number in op.doc["cursors"]:
        cursor = op.member.cursors.close(number)
        (killed if cursor else unknown).append(Int64(number))
        if cursor:
            op.member.progress.fire()
    return {"cursorsKilled": killed, "cursorsNotFound": unknown, "cursorsAlive": [], "cursorsUnknown": []}


@command("count", needs=READ)
async def count(op):
    doc = op.doc
    hits = _matching(op, Seen(op), op.namespace(), doc.get("query") or {})[int(doc.get("skip", 0) or 0):]
    limit = abs(int(doc.get("limit", 0) or 0))
    return {"n": min(len(hits), limit) if limit else len(hits)}


@command("distinct", needs=READ, transaction=True)
async def distinct(op):
    doc = op.doc
    values = {}
    seen = Seen(op)
    for one in _matching(op, seen, op.namespace(), doc.get("query") or {}):
        for value in candidates(one, doc["key"]):
            if value is not MISSING and not isinstance(value, list):
                values[sort_key(value)] = value
    return {"values": [values[key] for key in sorted(values)], **seen.fields()}


@command("aggregate", needs=READ, transaction=True, concern=True)
async def aggregate(op):
    doc = op.doc
    stages = doc.get("pipeline")
    if not isinstance(stages, list):
        raise CommandError(14, "'pipeline' option must be specified as an array")
    if "cursor" not in doc and "explain" not in doc:
        raise CommandError(9, "The 'cursor' option is required, except for aggregate with the explain argument")
    batch_size = doc.get("cursor", {}).get("batchSize")
    first = next(iter(stages[0]), "") if stages else ""
    target = doc["aggregate"]
    namespace = f"{op.database}.{target}" if isinstance(target, str) else f"{op.database}.$cmd.aggregate"
    if first == "$changeStream":
        stream = change_streams.open_stream(op, stages)
        return first_batch(op, namespace, stream(), batch_size, more=stream, await_data=True)
    seen = Seen(op)
    if first in ("$currentOp", "$listLocalSessions", "$documents"):
        documents, stages = ([] if first != "$documents" else stages[0]["$documents"]), stages[1:]
    else:
        documents = seen.read(target) if isinstance(target, str) else []
        if not isinstance(target, str) and stages:
            raise CommandError(73, "{aggregate: 1} is not valid for '" + first + "'; a collection is required.")
    out = next(iter(stages[-1]), "") if stages else ""
    if out in ("$out", "$merge"):
        documents = pipeline.run(documents, stages[:-1], seen)
        _written(op, out, stages[-1][out], documents)
        return first_batch(op, namespace, [], batch_size)
    return first_batch(op, namespace, pipeline.run(documents, stages, seen), batch_size, **seen.fields())


def _written(op, name, spec, documents):
    """$out replaces a collection, $merge replaces or inserts documents by _id."""
    if op.transaction:
        raise CommandError(263, f"{name} cannot be used in a transaction")
    # A secondary sends what it makes to the primary.
    member = op.member if op.member.writable else op.member.cluster.primary()
    if member is None or not member.writable or not op.member.cluster.reach(op.member, member):
        raise CommandError(10107, "not master")
    op.writes = True
    target = spec if name == "$out" or isinstance(spec, str) else spec["into"]
    database, collection = (op.database, target) if isinstance(target, str) else (target["db"], target["coll"])
    namespace = f"{database}.{collection}"
    if name == "$out":
        old = member.store.find(namespace)
        dropped = [("c", {"drop": namespace, "identity": old.identity})] if old else []
        member.commit([*dropped, ("c", {"create": namespace, "options": {}, "identity": new_identity()})], op)
    known = member.store.documents(namespace)
    operations = [("u" if sort_key(one["_id"]) in known else "i", namespace, one) for one in documents]
    if operations:
        member.commit(operations, op)
