"""The shape of a MongoDB reply: which fields, of which types, with the codes, labels and counts that drivers act on. Values go."""

from bson import Int64

from support.mongo_model.values import type_number

NAMES = {1: "double", 2: "string", 3: "object", 4: "array", 5: "binary", 7: "objectId", 8: "bool", 9: "date", 10: "null", 11: "regex",
         13: "code", 16: "int", 17: "timestamp", 18: "long", 19: "decimal", -1: "minKey", 127: "maxKey"}
KEPT = {"ok", "code", "codeName", "n", "nModified", "index", "errorLabels", "msg", "done", "w", "wtimeout", "ns", "setName",
        "operationType"}
LISTS_COUNTED = {"firstBatch", "nextBatch", "writeErrors", "upserted", "cursorsKilled", "cursorsNotFound", "errorLabels", "values"}


def shape(value, name=""):
    """Plain JSON: a document becomes a document of shapes, a list its first element's shape (with its length where that counts)."""
    if isinstance(value, dict):
        if "__cut__" in value:
            return "*"
        return {key: shape(one, key) for key, one in value.items()}
    if isinstance(value, list):
        if name == "errorLabels":
            return sorted(value)
        first = [shape(value[0], "")] if value and name not in ("firstBatch", "nextBatch", "values") else []
        return {"list": first, **({"length": len(value)} if name in LISTS_COUNTED else {})}
    if name == "id" and isinstance(value, Int64):
        return "long 0" if value == 0 else "long"
    if name in KEPT and not isinstance(value, bytes) and type_number(value) in (1, 2, 8, 16):
        return [NAMES[type_number(value)], value]
    if isinstance(value, bool):
        return value
    return NAMES[type_number(value)]


def differences(expected, found, path=""):
    """What of `found` is not as `expected`, as lines; "*" stands for anything."""
    if expected == "*":
        return []
    if isinstance(expected, dict) and isinstance(found, dict):
        lines = [f"{path}{key}: missing, expected {expected[key]}" for key in expected if key not in found]
        lines += [f"{path}{key}: not expected, found {found[key]}" for key in found if key not in expected]
        for key in expected:
            if key in found:
                lines += differences(expected[key], found[key], f"{path}{key}.")
        return lines
    return [] if expected == found else [f"{path.rstrip('.')}: expected {expected}, found {found}"]
