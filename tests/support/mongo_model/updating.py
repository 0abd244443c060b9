"""Updates: makes the new document from the old one by operators, a replacement or a pipeline. The old one stays as it is."""

import time

from bson import ObjectId, Timestamp
from bson.datetime_ms import DatetimeMS

from support.mongo_model import projection
from support.mongo_model.errors import CommandError
from support.mongo_model.expressions import add, multiply
from support.mongo_model.matching import is_operators, matcher
from support.mongo_model.paths import copy, get, holder, put, remove
from support.mongo_model.values import MISSING, equal, is_number, sort_key


def updated(document, change, array_filters=(), inserting=False, positions=None):
    """The document after `change`; `positions` says where the filter matched in arrays ({path: index})."""
    if isinstance(change, list):
        return _by_pipeline(document, change)
    if is_replacement(change):
        fresh = copy(change)
        if "_id" in fresh and "_id" in document and not equal(fresh["_id"], document["_id"]):
            raise CommandError(66, "After applying the update, the (immutable) field '_id' was found to have been altered")
        if "_id" in document:
            fresh.pop("_id", None)
            fresh = {"_id": document["_id"], **fresh}
        return fresh
    fresh = copy(document)
    seen = []
    for name, fields in change.items():
        if name not in OPERATORS and name != "$setOnInsert":
            raise CommandError(9, f"Unknown modifier: {name}. Expected a valid update modifier or pipeline-style update "
                                  "specified as an array")
        if not isinstance(fields, dict):
            raise CommandError(9, f"Modifiers operate on fields but we found type {type(fields).__name__} instead.")
        for path, operand in fields.items():
            for other in seen:
                if other == path or other.startswith(path + ".") or path.startswith(other + "."):
                    raise CommandError(40, f"Updating the path '{path}' would create a conflict at '{other}'")
            seen.append(path)
            if name == "$setOnInsert" and not inserting:
                continue
            for concrete in _expand(fresh, path, array_filters, positions or {}):
                OPERATORS.get(name, OPERATORS["$set"])(fresh, concrete, operand)
    if "_id" in document and not equal(fresh.get("_id", MISSING), document["_id"]):
        raise CommandError(66, "Performing an update on the path '_id' would modify the immutable field '_id'")
    return fresh


def is_replacement(change):
    return isinstance(change, dict) and not any(name.startswith("$") for name in change)


def _by_pipeline(document, stages):
    for stage in stages:
        (name, body), = stage.items()
        if name in ("$set", "$addFields"):
            document = projection.add_fields(document, body)
        elif name in ("$unset",):
            document = projection.without(document, [body] if isinstance(body, str) else body)
        elif name == "$project":
            document = {"_id": document["_id"], **projection.projected(document, body)}
        elif name in ("$replaceWith", "$replaceRoot"):
            document = {"_id": document["_id"], **projection.evaluate(body if name == "$replaceWith" else body["newRoot"], document)}
        else:
            raise CommandError(40324, f"Unrecognized pipeline stage name: '{name}'")
    return document


def _expand(document, path, array_filters, positions):
    """Concrete paths for `$`, `$[]` and `$[name]`."""
    parts = path.split(".")
    for number, part in enumerate(parts):
        if not part.startswith("$"):
            continue
        before, rest = ".".join(parts[:number]), parts[number + 1:]
        values = get(document, before)
        if part == "$":
            if before not in positions:
                raise CommandError(2, "The positional operator did not find the match needed from the query.")
            picked = [positions[before]]
        elif not isinstance(values, list):
            raise CommandError(2, f"The path '{before}' must exist in the document in order to apply array updates.")
        else:
            picked = range(len(values))
            if part != "$[]":
                test = _array_filter(part[2:-1], array_filters)
                picked = [index for index in picked if test(values[index])]
        found = []
        for index in picked:
            found += _expand(document, ".".join([before, str(index)] + rest), array_filters, positions)
        return found
    return [path]


def _array_filter(name, array_filters):
    for one in array_filters:
        if any(field.split(".")[0] == name for field in one):
            test = matcher(one)
            return lambda value: test({name: value})
    raise CommandError(2, f"No array filter found for identifier '{name}' in path")


def _set(document, path, value):
    put(document, path, copy(value))


def _inc(document, path, amount, operation=add, word="increment"):
    if not is_number(amount):
        raise CommandError(14, f"Cannot {word} with non-numeric argument: {{{path}: {amount!r}}}")
    old = get(document, path)
    if old is not MISSING and not is_number(old):
        raise CommandError(14, f"Cannot apply $inc to a value of non-numeric type. {{_id: {document.get('_id')!r}}} has the field '{path}' "
                               "of non-numeric type")
    put(document, path, amount if old is MISSING and operation is add else operation(0 if old is MISSING else old, amount))


def _bounded(pick):
    def run(document, path, value):
        old = get(document, path)
        if old is MISSING or pick(sort_key(value), sort_key(old)):
            put(document, path, value)
    return run


def _array(document, path, name):
    old = get(document, path)
    if old is MISSING:
        put(document, path, [])
        return get(document, path)
    if not isinstance(old, list):
        raise CommandError(2, f"The field '{path}' must be an array but is of type {type(old).__name__} in document "
                              f"{{_id: {document.get('_id')!r}}}" if name == "$push" else f"Cannot apply {name} to a non-array field.")
    return old


def _push(document, path, value):
    values = _array(document, path, "$push")
    if not (isinstance(value, dict) and "$each" in value):
        values.append(copy(value))
        return
    position = value.get("$position", len(values))
    values[position:position] = copy(value["$each"])
    order = value.get("$sort")
    if isinstance(order, dict):
        for field, direction in reversed(order.items()):
            values.sort(key=lambda one, f=field: sort_key(get(one, f)), reverse=direction < 0)
    elif order:
        values.sort(key=sort_key, reverse=order < 0)
    if "$slice" in value:
        limit = value["$slice"]
        values[:] = values[:limit] if limit >= 0 else values[limit:]


def _add_to_set(document, path, value):
    values = _array(document, path, "$addToSet")
    for one in value["$each"] if isinstance(value, dict) and "$each" in value else [value]:
        if not any(equal(one, other) for other in values):
            values.append(copy(one))


def _pop(document, path, direction):
    if get(document, path) is not MISSING:
        values = _array(document, path, "$pop")
        if values:
            values.pop(0 if direction < 0 else -1)


def _pull(document, path, condition):
    if get(document, path) is MISSING:
        return
    values = _array(document, path, "$pull")
    if is_operators(condition):
        test = matcher({"e": condition})
        values[:] = [one for one in values if not test({"e": one})]
    elif isinstance(condition, dict):
        test = matcher(condition)
        values[:] = [one for one in values if not (isinstance(one, dict) and test(one))]
    else:
        values[:] = [one for one in values if not equal(one, condition)]


def _pull_all(document, path, unwanted):
    if get(document, path) is not MISSING:
        values = _array(document, path, "$pullAll")
        values[:] = [one for one in values if not any(equal(one, other) for other in unwanted)]


def _rename(document, path, target):
    value = get(document, path)
    if value is not MISSING:
        container, key = holder(document, path)
        del container[key]
        put(document, target, value)


def _current_date(document, path, kind):
    if isinstance(kind, dict) and kind.get("$type") == "timestamp":
        put(document, path, Timestamp(int(time.time()), 1))
    else:
        put(document, path, DatetimeMS(int(time.time() * 1000)))


def _bit(document, path, operations):
    old = get(document, path)
    value = 0 if old is MISSING else old
    for name, mask in operations.items():
        value = {"and": value & mask, "or": value | mask, "xor": value ^ mask}[name]
    put(document, path, value)


OPERATORS = {
    "$set": _set, "$inc": _inc, "$mul": lambda d, p, v: _inc(d, p, v, multiply, "multiply"),
    "$unset": lambda d, p, v: remove(d, p), "$min": _bounded(lambda a, b: a < b), "$max": _bounded(lambda a, b: a > b),
    "$push": _push, "$addToSet": _add_to_set, "$pop": _pop, "$pull": _pull, "$pullAll": _pull_all, "$rename": _rename,
    "$currentDate": _current_date, "$bit": _bit,
}


def upserted(query, change, array_filters=()):
    """The document that an upsert inserts: the filter's equalities, then the change."""
    base = {}
    _equalities(query, base)
    if is_replacement(change):
        fresh = updated({"_id": base["_id"]} if "_id" in base else {}, change)
    else:
        fresh = updated(base, change, array_filters, inserting=True)
    if "_id" not in fresh:
        fresh = {"_id": ObjectId(), **fresh}
    return {"_id": fresh.pop("_id"), **fresh} if next(iter(fresh)) != "_id" else fresh


def _equalities(query, base):
    for name, condition in query.items():
        if name == "$and":
            for one in condition:
                _equalities(one, base)
        elif not name.startswith("$"):
            if not is_operators(condition):
                put(base, name, condition)
            elif "$eq" in condition:
                put(base, name, condition["$eq"])


def positions(document, query):
    """{array path: index of the first element that the filter matched}, for the positional operator `$`."""
    found = {}
    for path, condition in query.items():
        if path.startswith("$"):
            continue
        parts = path.split(".")
        for cut in range(len(parts), 0, -1):
            before, rest = ".".join(parts[:cut]), ".".join(parts[cut:])
            values = get(document, before)
            if not isinstance(values, list):
                continue
            if isinstance(condition, dict) and "$elemMatch" in condition:
                inner = condition["$elemMatch"]
                test = matcher({"e": {"$elemMatch": inner}})
                hits = [index for index, one in enumerate(values) if test({"e": [one]})]
            else:
                test = matcher({"e." + rest if rest else "e": condition})
                hits = [index for index, one in enumerate(values) if test({"e": one})]
            if hits:
                found[before] = hits[0]
            break
    return found
