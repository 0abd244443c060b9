"""What an index does for a find: a hint gives the order of its keys, min and max its bounds."""

from support.mongo_model import pipeline
from support.mongo_model.errors import CommandError
from support.mongo_model.paths import candidates
from support.mongo_model.values import MISSING, sort_key


def hinted(doc, namespace, collection):
    """The index that a command's hint names, or None where it has none."""
    hint = doc.get("hint")
    if not hint:
        if doc.get("min") or doc.get("max"):
            raise CommandError(51173, "When using min()/max() a hint of which index to use must be provided")
        return None
    if collection is None or isinstance(hint, dict) and "$natural" in hint:
        return None
    for index in collection.indexes:
        if index["name"] == hint or isinstance(hint, dict) and list(index["key"].items()) == list(hint.items()):
            break
    else:
        raise CommandError(2, f"error processing query: ns={namespace} planner returned error :: caused by :: hint provided does not "
                              "correspond to an existing index")
    if any(doc.get(name) and list(doc[name]) != list(index["key"]) for name in ("min", "max")):
        raise CommandError(51174, "The index chosen is not compatible with min/max")
    return index


def through(documents, doc, index):
    """The documents in the order of the index, those between min (with it) and max (without it)."""
    if index is None:
        return documents[::-1] if isinstance(doc.get("hint"), dict) and doc["hint"].get("$natural", 1) < 0 else documents
    key = index["key"]
    if index.get("sparse"):
        documents = [one for one in documents if any(candidates(one, path)[0] is not MISSING for path in key)]
    for name in ("min", "max"):
        if doc.get(name):
            bound = [sort_key(value) for value in doc[name].values()]
            documents = [one for one in documents
                         if _is_before(key, [sort_key(candidates(one, path)[0]) for path in key], bound) == (name == "max")]
    return pipeline.ordered(documents, key) if all(isinstance(one, (int, float)) for one in key.values()) else documents


def _is_before(key, left, right):
    for direction, one, other in zip(key.values(), left, right):
        if one != other:
            return (one < other) == (direction > 0)
    return False
