"""Projections of find, findAndModify and $project: which fields of a document a reply shows, and fields that are computed."""

from support.mongo_model.expressions import evaluate, truth
from support.mongo_model.matching import matcher
from support.mongo_model.paths import copy, put
from support.mongo_model.values import MISSING, is_number


def _is_flag(value):
    return isinstance(value, bool) or is_number(value)


def projected(document, spec):
    """`document` as `spec` shows it."""
    if not spec:
        return document
    flags = {name: truth(one) for name, one in spec.items() if _is_flag(one)}
    plain = [shown for name, shown in flags.items() if name != "_id"]
    computed = {name: one for name, one in spec.items() if not _is_flag(one) and not _special(one)}
    special = {name: one for name, one in spec.items() if _special(one)}
    if any(plain) or not plain and (computed or flags.get("_id")) or (not plain and not flags and not special):
        result = _kept(document, [name.split(".") for name, shown in flags.items() if shown]
                       + ([["_id"]] if flags.get("_id", True) else []) + [name.split(".") for name in special])
    else:
        result = without(document, [name for name, shown in flags.items() if not shown])
    for name, one in computed.items():
        value = evaluate(one, document)
        if value is not MISSING:
            result = copy(result)
            put(result, name, value)
    for name, one in special.items():
        result = _arrays(result, document, name, one)
    return result


def _special(value):
    return isinstance(value, dict) and next(iter(value), "") in ("$slice", "$elemMatch", "$meta")


def _arrays(result, document, name, one):
    (kind, operand), = one.items()
    values = document.get(name)
    if kind == "$meta" or not isinstance(values, list):
        return result
    result = dict(result)
    if kind == "$elemMatch":
        test = matcher({"e": {"$elemMatch": operand}})
        hit = [value for value in values if test({"e": [value]})][:1]
        result.pop(name, None)
        return {**result, name: hit} if hit else result
    if isinstance(operand, list):
        start, count = operand
        start = max(len(values) + start, 0) if start < 0 else start
        return {**result, name: values[start:start + count]}
    return {**result, name: values[:operand] if operand >= 0 else values[operand:]}


def _kept(value, paths):
    if isinstance(value, list):
        return [_kept(one, paths) for one in value if isinstance(one, (dict, list))]
    result = {}
    for name, one in value.items():
        rests = [path[1:] for path in paths if path[0] == name]
        if any(not rest for rest in rests):
            result[name] = one
        elif rests and isinstance(one, (dict, list)):
            result[name] = _kept(one, rests)
    return result


def without(document, names):
    """The document without these paths."""
    return _dropped(document, [name.split(".") for name in names])


def _dropped(value, paths):
    if isinstance(value, list):
        return [_dropped(one, paths) for one in value]
    if not isinstance(value, dict):
        return value
    result = {}
    for name, one in value.items():
        rests = [path[1:] for path in paths if path[0] == name]
        if not any(not rest for rest in rests):
            result[name] = _dropped(one, rests) if rests else one
    return result


def add_fields(document, spec):
    """The document with computed fields set."""
    result = copy(document)
    for name, one in spec.items():
        value = evaluate(one, document)
        if value is not MISSING:
            put(result, name, value)
    return result
