"""Databases, collections and indexes: list, create, drop, rename, statistics."""

import bson
from bson import Int64

from support.mongo_model.commands.reads import first_batch
from support.mongo_model.errors import CommandError
from support.mongo_model.matching import matcher
from support.mongo_model.registry import DATA, READ, WRITE, command
from support.mongo_model.store import new_identity


def _size(collection):
    return sum(len(bson.encode(one)) for one in collection.documents.values())


@command("listDatabases", needs=READ)
async def list_databases(op):
    if op.database != "admin":
        raise CommandError(13, "listDatabases may only be run against the admin database.")
    store, found = op.member.store, []
    names = sorted(set(store.databases()) | {"admin", "config", "local"})
    test = matcher(op.doc.get("filter") or {})
    for name in names:
        one = {"name": name}
        if not op.doc.get("nameOnly"):
            size = float(sum(_size(store.find(f"{name}.{inner}")) for inner in store.names(name)) or 8192)
            one.update({"sizeOnDisk": size, "empty": False})
        if test(one):
            found.append(one)
    if op.doc.get("nameOnly"):
        return {"databases": found}
    return {"databases": found, "totalSize": sum(one["sizeOnDisk"] for one in found)}


@command("listCollections", needs=READ)
async def list_collections(op):
    store, found = op.member.store, []
    test = matcher(op.doc.get("filter") or {})
    for name in store.names(op.database):
        collection = store.find(f"{op.database}.{name}")
        one = {"name": name, "type": "collection"}
        if not op.doc.get("nameOnly"):
            one.update({"options": dict(collection.options), "info": {"readOnly": False, "uuid": collection.identity},
                        "idIndex": collection.indexes[0]})
        if test(one):
            found.append(one)
    return first_batch(op, f"{op.database}.$cmd.listCollections", found, op.doc.get("cursor", {}).get("batchSize"))


@command("listIndexes", needs=READ)
async def list_indexes(op):
    namespace = op.namespace()
    collection = op.member.store.find(namespace)
    if collection is None:
        raise CommandError(26, f"ns does not exist: {namespace}")
    return first_batch(op, namespace, list(collection.indexes), op.doc.get("cursor", {}).get("batchSize"))


@command("create", needs=WRITE, transaction=True, concern=True)
async def create(op):
    namespace = op.namespace()
    if op.member.store.find(namespace) is not None:
        raise CommandError(48, f"a collection '{namespace}' already exists")
    known = ("capped", "size", "max", "validator", "validationLevel", "validationAction", "collation", "viewOn", "pipeline",
             "changeStreamPreAndPostImages", "timeseries", "expireAfterSeconds", "clusteredIndex", "autoIndexId")
    if op.doc.get("capped") and not op.doc.get("size"):
        raise CommandError(72, "the 'size' field is required when 'capped' is true")
    _commit(op, {"create": namespace, "options": {name: op.doc[name] for name in known if name in op.doc}, "identity": new_identity()})
    return {}


def _commit(op, *bodies):
    operations = [("c", body) for body in bodies]
    if op.transaction:
        for one in operations:
            op.transaction.store.apply(one)
        op.transaction.operations += operations
    else:
        op.member.commit(operations, op)


def _dropping(store, namespace):
    return {"drop": namespace, "identity": store.find(namespace).identity}


@command("drop", needs=WRITE, concern=True)
async def drop(op):
    namespace = op.namespace()
    collection = op.member.store.find(namespace)
    if collection is None:
        raise CommandError(26, "ns not found")
    _commit(op, _dropping(op.member.store, namespace))
    return {"nIndexesWas": len(collection.indexes), "ns": namespace}


@command("dropDatabase", needs=WRITE, concern=True)
async def drop_database(op):
    store = op.member.store
    names = store.names(op.database)
    if not names:
        return {}
    _commit(op, *(_dropping(store, f"{op.database}.{name}") for name in names), {"dropDatabase": op.database})
    return {"dropped": op.database}


@command("createIndexes", needs=WRITE, transaction=True, concern=True)
async def create_indexes(op):
    namespace, wanted = op.namespace(), op.doc.get("indexes")
    if not isinstance(wanted, list) or not wanted:
        raise CommandError(2, "Must specify at least one index to create")
    collection = op.member.store.find(namespace)
    if op.transaction and collection is not None:
        raise CommandError(263, "Cannot create new indexes on existing collection in a multi-document transaction.")
    before = list(collection.indexes) if collection else []
    fresh = []
    for one in wanted:
        if not isinstance(one.get("key"), dict) or "name" not in one:
            raise CommandError(9, "The 'key' and 'name' fields are required properties of an index specification")
        same = [other for other in before + fresh if other["name"] == one["name"] or list(other["key"].items()) == list(one["key"].items())]
        if same and same[0]["key"] != one["key"]:
            raise CommandError(86, f"Index must have unique name. The existing index: {same[0]['name']}")
        if same and same[0]["name"] != one["name"]:
            raise CommandError(85, f"Index already exists with a different name: {same[0]['name']}")
        if not same:
            fresh.append({"v": 2, **one})
    if fresh:
        _check_unique(collection, namespace, fresh)
        _commit(op, {"createIndexes": namespace, "indexes": fresh, "identity": collection.identity if collection else new_identity()})
    document = {"createdCollectionAutomatically": collection is None, "numIndexesBefore": len(before) or 1,
                "numIndexesAfter": (len(before) or 1) + len(fresh)}
    if not fresh:
        document["note"] = "all indexes already exist"
    document["commitQuorum"] = "votingMembers"
    return document


def _check_unique(collection, namespace, fresh):
    if collection is None or not any(one.get("unique") for one in fresh):
        return
    probe = collection.clone()
    probe.indexes = fresh
    for one in probe.documents.values():
        problem = probe.duplicate_of(one, namespace)
        if problem:
            raise problem


@command("dropIndexes", "deleteIndexes", needs=WRITE, concern=True)
async def drop_indexes(op):
    namespace, wanted = op.namespace(), op.doc.get("index")
    collection = op.member.store.find(namespace)
    if collection is None:
        raise CommandError(26, f"ns not found {namespace}")
    if wanted == "*":
        names = [one["name"] for one in collection.indexes[1:]]
    else:
        names = [one["name"] for one in collection.indexes if one["name"] == wanted or one["key"] == wanted]
        if not names:
            raise CommandError(27, f"index not found with name [{wanted}]")
        if "_id_" in names:
            raise CommandError(72, "cannot drop _id index")
    before = len(collection.indexes)
    gone = [one for one in collection.indexes if one["name"] in names]
    _commit(op, {"dropIndexes": namespace, "names": names, "indexes": gone, "identity": collection.identity})
    return {"nIndexesWas": before}


@command("renameCollection", needs=WRITE, concern=True, admin=True)
async def rename_collection(op):
    source, target = op.doc["renameCollection"], op.doc["to"]
    collection, replaced = op.member.store.find(source), op.member.store.find(target)
    if collection is None:
        raise CommandError(26, f"Source collection {source} does not exist")
    if replaced is not None and not op.doc.get("dropTarget"):
        raise CommandError(48, "target namespace exists")
    _commit(op, {"renameCollection": source, "to": target, "identity": collection.identity,
                 **({"dropTarget": replaced.identity} if replaced else {})})
    return {}


@command("collMod", needs=WRITE, concern=True)
async def coll_mod(op):
    namespace = op.namespace()
    collection = op.member.store.find(namespace)
    if collection is None:
        raise CommandError(26, "ns does not exist")
    known = ("validator", "validationLevel", "validationAction", "changeStreamPreAndPostImages")
    _commit(op, {"collMod": namespace, "options": {name: op.doc[name] for name in known if name in op.doc},
                 "identity": collection.identity})
    return {}


@command("collStats", "collstats", needs=DATA)
async def coll_stats(op):
    namespace = op.namespace()
    collection = op.member.store.find(namespace)
    size = _size(collection) if collection else 0
    count = len(collection.documents) if collection else 0
    indexes = [one["name"] for one in collection.indexes] if collection else []
    document = {"ns": namespace, "size": size, "count": count}
    if count:
        document["avgObjSize"] = size // count
    return {**document, "storageSize": 4096, "freeStorageSize": 0, "capped": bool(collection and collection.options.get("capped")),
            "wiredTiger": {}, "nindexes": len(indexes), "indexDetails": {}, "indexBuilds": [], "totalIndexSize": 4096 * len(indexes),
            "totalSize": 4096 * (1 + len(indexes)), "indexSizes": {name: 4096 for name in indexes}, "scaleFactor": 1}


@command("dbStats", "dbstats", needs=DATA)
async def db_stats(op):
    store = op.member.store
    collections = [store.find(f"{op.database}.{name}") for name in store.names(op.database)]
    objects, size = sum(len(one.documents) for one in collections), float(sum(map(_size, collections)))
    indexes = sum(len(one.indexes) for one in collections)
    return {"db": op.database, "collections": len(collections), "views": 0, "objects": objects,
            "avgObjSize": size / objects if objects else 0.0, "dataSize": size, "storageSize": 4096.0 * len(collections),
            "indexes": indexes, "indexSize": 4096.0 * indexes, "totalSize": 4096.0 * (len(collections) + indexes), "scaleFactor": 1.0,
            "fsUsedSize": 0.0, "fsTotalSize": 0.0}


@command("validate", needs=READ)
async def validate(op):
    collection = op.member.store.find(op.namespace())
    if collection is None:
        raise CommandError(26, f"Collection '{op.namespace()}' does not exist to validate.")
    return {"ns": op.namespace(), "nInvalidDocuments": Int64(0), "nrecords": Int64(len(collection.documents)),
            "nIndexes": len(collection.indexes), "valid": True, "warnings": [], "errors": []}
