"""insert, update, delete, findAndModify: each statement once, in a transaction, as a retryable write, or plainly."""

import asyncio

import bson
from bson import ObjectId

from support.mongo_model.errors import CommandError, DropConnection, Locked
from support.mongo_model.matching import matcher
from support.mongo_model.pipeline import ordered
from support.mongo_model.projection import projected
from support.mongo_model.registry import WRITE, command
from support.mongo_model.store import duplicate
from support.mongo_model.updating import is_replacement, positions, updated, upserted
from support.mongo_model.values import same, sort_key

FATAL = {50, 91, 112, 246, 251, 10107, 11600, 11602, 24}
NO_ELECTION = ObjectId("0" * 24)
INSERT_GROUP = 64
DOCUMENT_MAX = 16 * 1024 * 1024
WRITABLE = {"transaction": True, "retryable": True, "concern": True}


def view(op):
    """The data that a statement sees: the transaction's, or the member's."""
    return op.transaction.store if op.transaction else op.member.store


def write(op, operations, statement=None, outcome=None, replacement=False):
    """Makes operations true: in the transaction, or as an entry of the journal with what a retry needs to know."""
    member = op.member
    if op.transaction:
        for kind, namespace, document in operations:
            identity = document if kind == "d" else document["_id"]
            current = member.store.documents(namespace).get(sort_key(identity))
            member.sessions.lock(op.transaction, namespace, identity, current)
        for operation in operations:
            op.transaction.store.apply(operation)
        op.transaction.operations += operations
        return
    for kind, namespace, document in operations:
        member.sessions.check_unlocked(namespace, document if kind == "d" else document["_id"])
    session = (op.lsid, op.number, {statement: outcome}) if op.retryable else None
    member.commit(operations, op, session, replacement)


def failing(op, statement):
    """A statement under the fail point of retryable writes: refused before it commits, or cut off after."""
    point = op.member.fail_points.hit_place("onPrimaryTransactionalWrite") if op.retryable else None
    if point is None:
        return statement()
    code = point.get("failBeforeCommitExceptionCode")
    if code is None:
        result = statement()
    if point.get("closeConnection", True):
        raise DropConnection
    if code is not None:
        raise CommandError(int(code), "Failing write due to failpoint. The write must not be reflected.")
    return result


async def unlocked(op, statement):
    """Runs a statement, again each time that a transaction which held its document has ended."""
    while True:
        try:
            return statement()
        except Locked as lock:
            await op.wait(asyncio.shield(lock.transaction.done))


def statement_id(op, index):
    if "stmtIds" in op.doc:
        return int(op.doc["stmtIds"][index])
    return int(op.doc.get("stmtId", 0)) + index


async def statements(op, list_of, execute):
    """Runs each statement; (outcomes, writeErrors). An outcome of history counts as if done now."""
    if len(list_of) > 100000 or not list_of:
        raise CommandError(16, f"Write batch sizes must be between 1 and 100000. Got {len(list_of)} operations.")
    outcomes, errors = [], []
    flawed = op.retryable and op.name == "insert" and op.member.cluster.settings.wire < 13
    order = _gathered(op, list_of) if flawed else [(index, statement_id(op, index)) for index in range(len(list_of))]
    # The documents of one insert are one write to the fail point.
    guard = failing
    for index, (place, number) in enumerate(order):
        one = list_of[place]
        if index and op.name == "insert":
            guard = lambda _, statement: statement()  # noqa: E731
        if op.retryable and number in op.session.statements:
            outcome, entry = op.session.statements[number]
            outcome = outcome if op.name == outcome["kind"] else _as_update(outcome)
            op.entries.append(entry)
            outcomes.append((index, outcome))
            op.retried.append(number)
            continue
        try:
            if op.member.stepping_down:
                raise CommandError(189, "Not primary while writing to " + op.namespace())
            if index % 50 == 49:
                await asyncio.sleep(0)
                op.check()
            outcomes.append((index, await unlocked(op, lambda: guard(op, lambda: execute(one, number)))))
        except CommandError as error:
            if error.code in FATAL and not (op.retryable and error.code == 112):
                raise
            errors.append({"index": index, "code": error.code, **error.more, "errmsg": error.message})
            if op.doc.get("ordered", True) or op.transaction:
                break
    return outcomes, errors


def _gathered(op, documents):
    """(place, number) of each document that a server before 5.0 comes to, in its order: it counts at once what the history knows, and
    inserts the rest in groups, the last group only where the last document belongs to it. One that is unfit ends a group and has no number.
    Errors are counted in this order too, so that they stand in wrong places behind a repetition."""
    order, group, skipped = [], [], 0
    for place, document in enumerate(documents):
        unfit = _unfit(op, document) is not None
        number = None if unfit else statement_id(op, place - skipped)
        skipped += unfit
        if not unfit and number in op.session.statements:
            order.append((place, number))
            continue
        group.append((place, number))
        if unfit or len(group) == INSERT_GROUP or place == len(documents) - 1:
            order += group
            group = []
    return order


def _unfit(op, document):
    """Why no collection could take the document, or None."""
    if any(name.startswith("$") for name in document) and op.member.cluster.settings.wire < 13:
        return CommandError(2, "Document can't have $ prefixed field names")
    if isinstance(document.get("_id"), list):
        return CommandError(2, "The '_id' value cannot be of type array")
    if op.request.size > DOCUMENT_MAX and (size := len(bson.encode(document))) > DOCUMENT_MAX:
        return CommandError(10334, f"object to insert too large. size in bytes: {size}, max size: {DOCUMENT_MAX}")
    return None


def _as_update(outcome):
    """What history says of a statement to an update under its number: by the kind of the entry."""
    if outcome["kind"] in ("insert", "upsert"):
        return {"n": 1, "nModified": 0, "upserted": outcome["upserted"]}
    return {"n": outcome["n"], "nModified": 0 if outcome["kind"] in ("delete", "remove") else 1}


def finished(op, document, errors):
    """Adds what every write's reply carries."""
    if errors:
        document["writeErrors"] = errors
    if op.retried and op.member.cluster.settings.wire >= 13:
        document["retriedStmtIds"] = op.retried
    if op.member.in_set:
        if not op.transaction and op.database != "local":
            op.connection.last_optime = op.member.optime
        document["opTime"] = op.connection.last_optime
        document["electionId"] = op.member.election_id if op.member.role == "primary" else NO_ELECTION
    return document


GENERIC = {"ordered", "writeConcern", "bypassDocumentValidation", "maxTimeMS", "lsid", "txnNumber", "autocommit", "startTransaction",
           "stmtId", "stmtIds", "comment", "let", "readConcern", "collation", "apiVersion", "apiStrict", "apiDeprecationErrors", "hint",
           "allowImplicitCollectionCreation", "shardVersion", "databaseVersion", "recoveryToken", "coordinator"}


def _list(op, name):
    for field in op.doc:
        if field not in GENERIC and field not in (op.name, name) and not field.startswith("$"):
            raise CommandError(40415, f"BSON field '{op.name}.{field}' is an unknown field.")
    values = op.doc.get(name)
    if "level" in op.doc.get("readConcern", {}) and not op.transaction:
        raise CommandError(72, "Command does not support readConcern")
    if isinstance(values, dict):
        values = list(values.values())
    if not isinstance(values, list):
        raise CommandError(40414, f"BSON field '{op.name}.{name}' is missing but a required field") if values is None \
            else CommandError(14, f"BSON field '{op.name}.{name}' is the wrong type")
    return values


def insertable(op, namespace, document):
    """Checks the document's place: a duplicate is an error of the statement."""
    collection = view(op).find(namespace)
    if collection is None:
        return
    if sort_key(document["_id"]) in collection.documents:
        raise duplicate(namespace, {"name": "_id_", "key": {"_id": 1}}, document)
    problem = collection.duplicate_of(document, namespace)
    if problem:
        raise problem


@command("insert", needs=WRITE, **WRITABLE)
async def insert(op):
    namespace = op.namespace()
    if namespace.split(".", 1)[1].startswith("system.profile"):
        raise CommandError(73, f"cannot write to '{namespace}'")

    def one(document, number):
        if op.retryable and op.database == "local":
            raise CommandError(20, "Transaction numbers are not allowed on the local database")
        if "_id" not in document:
            document = {"_id": ObjectId(), **document}
        elif next(iter(document)) != "_id":
            document = {"_id": document["_id"], **document}
        if problem := _unfit(op, document):
            raise problem
        insertable(op, namespace, document)
        outcome = {"kind": "insert", "n": 1, "upserted": document["_id"]}
        write(op, [("i", namespace, document)], number, outcome)
        return outcome

    outcomes, errors = await statements(op, _list(op, "documents"), one)
    return finished(op, {"n": sum(outcome["n"] for _, outcome in outcomes)}, errors)


def found(op, namespace, query, order=None):
    """Documents that match, in order."""
    documents = view(op).documents(namespace)
    identity = query.get("_id")
    if identity is not None and not isinstance(identity, (dict, list)) and type(identity).__name__ != "Regex":
        one = documents.get(sort_key(identity))
        hits = [one] if one is not None and matcher(query)(one) else []
    else:
        hits = list(filter(matcher(query), list(documents.values())))
    return ordered(hits, order) if order else hits


def _update_one(op, namespace, one, number):
    query, change, multi = one["q"], one["u"], bool(one.get("multi"))
    if multi and op.retryable:
        raise CommandError(72, "Cannot use (or request) retryable writes with multi=true")
    if multi and is_replacement(change):
        raise CommandError(9, "multi update is not supported for replacement-style update")
    hits = found(op, namespace, query)
    hits = hits if multi else hits[:1]
    if not hits and one.get("upsert"):
        fresh = upserted(query, change, one.get("arrayFilters", ()))
        insertable(op, namespace, fresh)
        outcome = {"kind": "upsert", "n": 1, "nModified": 0, "upserted": fresh["_id"]}
        write(op, [("i", namespace, fresh)], number, outcome)
        return outcome
    operations = []
    for document in hits:
        fresh = updated(document, change, one.get("arrayFilters", ()), positions=positions(document, query))
        if not same(fresh, document):
            problem = view(op).find(namespace).duplicate_of(fresh, namespace)
            if problem:
                raise problem
            operations.append(("u", namespace, fresh))
    outcome = {"kind": "update", "n": len(hits), "nModified": len(operations)}
    if operations:
        write(op, operations, number, outcome, is_replacement(change))
    return outcome


@command("update", needs=WRITE, **WRITABLE)
async def update(op):
    namespace = op.namespace()
    outcomes, errors = await statements(op, _list(op, "updates"), lambda one, number: _update_one(op, namespace, one, number))
    document = {"n": sum(outcome["n"] for _, outcome in outcomes)}
    upserts = [{"index": index, "_id": outcome["upserted"]} for index, outcome in outcomes
               if "upserted" in outcome and "nModified" in outcome]
    if upserts:
        document["upserted"] = upserts
    document["nModified"] = sum(outcome.get("nModified", 0) for _, outcome in outcomes)
    return finished(op, document, errors)


@command("delete", needs=WRITE, **WRITABLE)
async def delete(op):
    namespace = op.namespace()

    def one(statement, number):
        limit = int(statement.get("limit", 0))
        if limit not in (0, 1):
            raise CommandError(9, f"The limit field in delete objects must be 0 or 1. Got {limit}")
        if limit == 0 and op.retryable:
            raise CommandError(72, "Cannot use (or request) retryable writes with limit=0")
        hits = found(op, namespace, statement["q"])
        hits = hits[:1] if limit else hits
        outcome = {"kind": "delete", "n": len(hits)}
        if hits:
            write(op, [("d", namespace, document["_id"]) for document in hits], number, outcome)
        return outcome

    outcomes, errors = await statements(op, _list(op, "deletes"), one)
    return finished(op, {"n": sum(outcome["n"] for _, outcome in outcomes)}, errors)


def _modify(op, namespace):
    doc = op.doc
    query, fields = doc.get("query", {}), doc.get("fields")
    hits = found(op, namespace, query, doc.get("sort"))[:1]
    if doc.get("remove"):
        outcome = {"kind": "remove", "n": len(hits), "value": hits[0] if hits else None}
        if hits:
            write(op, [("d", namespace, hits[0]["_id"])], statement_id(op, 0), outcome)
    elif hits:
        fresh = updated(hits[0], doc["update"], doc.get("arrayFilters", ()), positions=positions(hits[0], query))
        outcome = {"kind": "modify", "n": 1, "value": fresh if doc.get("new") else hits[0], "new": bool(doc.get("new"))}
        if not same(fresh, hits[0]):
            problem = view(op).find(namespace).duplicate_of(fresh, namespace)
            if problem:
                raise problem
            write(op, [("u", namespace, fresh)], statement_id(op, 0), outcome, is_replacement(doc["update"]))
    elif doc.get("upsert"):
        fresh = upserted(query, doc["update"], doc.get("arrayFilters", ()))
        insertable(op, namespace, fresh)
        outcome = {"kind": "upsert", "n": 1, "upserted": fresh["_id"],
                   "value": fresh if doc.get("new") else None}
        write(op, [("i", namespace, fresh)], statement_id(op, 0), outcome)
    else:
        outcome = {"kind": "modify", "n": 0, "value": None}
    return outcome if not fields or not outcome["value"] else {**outcome, "value": projected(outcome["value"], fields)}


def _from_history(op, outcome, entry):
    doc = op.doc
    if outcome["kind"] == "insert" or outcome["kind"] == "remove" and not doc.get("remove"):
        raise CommandError(40608, "findAndModify retry request is not compatible with previous write in the transaction")
    if outcome["kind"] == "modify" and not doc.get("remove") and bool(doc.get("new")) != outcome["new"]:
        raise CommandError(40611, "findAndModify retry request wants the other image of the document than the one that is stored")
    op.entries.append(entry)
    op.retried.append(statement_id(op, 0))
    return outcome


@command("findAndModify", "findandmodify", needs=WRITE, **WRITABLE)
async def find_and_modify(op):
    namespace, doc = op.namespace(), op.doc
    if bool(doc.get("remove")) == ("update" in doc):
        raise CommandError(9, "Either an update or remove=true must be specified" if not doc.get("remove")
                           else "Cannot specify both an update and remove=true")
    if op.member.stepping_down:
        raise CommandError(10107, "not master")
    if op.retryable and statement_id(op, 0) in op.session.statements:
        outcome = _from_history(op, *op.session.statements[statement_id(op, 0)])
    else:
        outcome = await unlocked(op, lambda: failing(op, lambda: _modify(op, namespace)))
    last = {"n": outcome["n"]}
    if outcome["kind"] != "remove":
        last["updatedExisting"] = outcome["n"] == 1 and outcome["kind"] != "upsert"
        if outcome["kind"] == "upsert":
            last["upserted"] = outcome["upserted"]
    document = {"lastErrorObject": last, "value": outcome["value"]}
    if op.retried and op.member.cluster.settings.wire >= 13:
        document["retriedStmtId"] = op.retried[0]
    return document
