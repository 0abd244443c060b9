"""Aggregation pipelines over a list of documents: the stages that tests and drivers' suites use, others are refused by name."""

import random

from support.mongo_model import projection
from support.mongo_model.errors import CommandError
from support.mongo_model.expressions import accumulate, evaluate
from support.mongo_model.matching import matcher
from support.mongo_model.paths import candidates, copy, get, put, remove
from support.mongo_model.values import MISSING, sort_key


def ordered(documents, order):
    """Documents sorted by a sort document."""
    result = list(documents)
    for path, direction in reversed(list(order.items())):
        if isinstance(direction, dict):
            continue
        if path == "$natural":
            result = result[::-1] if direction < 0 else result
            continue
        pick = max if direction < 0 else min
        result.sort(key=lambda one, p=path, f=pick: f(map(sort_key, _sortable(one, p))), reverse=direction < 0)
    return result


def _sortable(document, path):
    values = candidates(document, path)
    return [one for one in values if not isinstance(one, list)] or values


def _group(documents, spec, _):
    groups = {}
    for one in documents:
        key = evaluate(spec["_id"], one)
        key = None if key is MISSING else key
        groups.setdefault(sort_key(key), (key, []))[1].append(one)
    for key, members in groups.values():
        result = {"_id": key}
        for name, body in spec.items():
            if name != "_id":
                (operator, operand), = body.items()
                result[name] = len(members) if operator == "$count" else accumulate(operator, [evaluate(operand, one) for one in members])
        yield result


def _unwind(documents, spec, _):
    spec = {"path": spec} if isinstance(spec, str) else spec
    path = spec["path"][1:]
    for one in documents:
        values = get(one, path)
        keep = spec.get("preserveNullAndEmptyArrays")
        if not isinstance(values, list):
            if values is not MISSING and values is not None or keep:
                yield one
            continue
        for index, value in enumerate(values):
            fresh = copy(one)
            put(fresh, path, value)
            if "includeArrayIndex" in spec:
                put(fresh, spec["includeArrayIndex"], index)
            yield fresh
        if not values and keep:
            fresh = copy(one)
            remove(fresh, path)
            yield fresh


def _lookup(documents, spec, scope):
    others = scope.read(spec["from"])
    for one in documents:
        if "localField" in spec:
            mine = {sort_key(value) for value in candidates(one, spec["localField"])}
            hits = [other for other in others if mine & {sort_key(value) for value in candidates(other, spec["foreignField"])}]
        else:
            hits = list(others)
        if "pipeline" in spec:
            hits = run(hits, spec["pipeline"], scope)
        yield {**one, spec["as"]: hits}


def _sample(documents, spec, _):
    documents = list(documents)
    return random.sample(documents, min(int(spec["size"]), len(documents)))


def _count(documents, name, _):
    total = len(list(documents))
    return [{name: total}] if total else []


def _sort_by_count(documents, expression, scope):
    return ordered(_group(documents, {"_id": expression, "count": {"$sum": 1}}, scope), {"count": -1})


STAGES = {
    "$match": lambda d, s, _: filter(matcher(s), d),
    "$sort": lambda d, s, _: ordered(d, s),
    "$limit": lambda d, s, _: list(d)[:int(s)],
    "$skip": lambda d, s, _: list(d)[int(s):],
    "$project": lambda d, s, _: (projection.projected(one, s) for one in d),
    "$addFields": lambda d, s, _: (projection.add_fields(one, s) for one in d),
    "$set": lambda d, s, _: (projection.add_fields(one, s) for one in d),
    "$unset": lambda d, s, _: (projection.without(one, [s] if isinstance(s, str) else s) for one in d),
    "$replaceRoot": lambda d, s, _: (evaluate(s["newRoot"], one) for one in d),
    "$replaceWith": lambda d, s, _: (evaluate(s, one) for one in d),
    "$unionWith": lambda d, s, scope: list(d) + run(scope.read(s if isinstance(s, str) else s["coll"]),
                                                    [] if isinstance(s, str) else s.get("pipeline", []), scope),
    "$facet": lambda d, s, scope: (lambda all_of: [{name: run(all_of, stages, scope) for name, stages in s.items()}])(list(d)),
    "$documents": lambda d, s, _: list(s),
    "$group": _group, "$unwind": _unwind, "$lookup": _lookup, "$sample": _sample, "$count": _count, "$sortByCount": _sort_by_count,
}


def run(documents, stages, scope):
    """The documents after all stages. `scope.read(name)` gives another collection of the same database."""
    for stage in stages:
        if not isinstance(stage, dict) or len(stage) != 1:
            raise CommandError(40323, "A pipeline stage specification object must contain exactly one field.")
        (name, spec), = stage.items()
        if name not in STAGES:
            raise CommandError(40324, f"Unrecognized pipeline stage name: '{name}'")
        documents = STAGES[name](documents, spec, scope)
    return list(documents)
