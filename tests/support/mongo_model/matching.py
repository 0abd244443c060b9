"""Filters: compiles a query document into a function that says whether a document matches."""

import re

from bson import Regex

from support.mongo_model.errors import CommandError
from support.mongo_model.expressions import evaluate, truth
from support.mongo_model.paths import candidates, lookup
from support.mongo_model.values import ALIASES, MISSING, equal, is_number, number, sort_key, type_number

FLAGS = {"i": re.I, "m": re.M, "s": re.S, "x": re.X}


def matcher(query):
    """A function document → bool."""
    tests = []
    for name, condition in query.items():
        if name in ("$and", "$or", "$nor"):
            tests.append(_combination(name, condition))
        elif name == "$expr":
            tests.append(lambda document, inner=condition: truth(evaluate(inner, document)))
        elif name == "$comment":
            continue
        elif name.startswith("$"):
            raise CommandError(2, f"unknown top level operator: {name}")
        else:
            tests.append(_field(name, condition))
    if len(tests) == 1:
        return tests[0]
    return lambda document: all(test(document) for test in tests)


def _combination(name, conditions):
    if not isinstance(conditions, list) or not conditions:
        raise CommandError(2, f"{name[1:]} must be an array" if not isinstance(conditions, list) else f"{name} must be a nonempty array")
    inner = [matcher(one) for one in conditions]
    if name == "$and":
        return lambda document: all(one(document) for one in inner)
    if name == "$or":
        return lambda document: any(one(document) for one in inner)
    return lambda document: not any(one(document) for one in inner)


def is_operators(condition):
    return isinstance(condition, dict) and condition and next(iter(condition)).startswith("$") and \
        next(iter(condition)) not in ("$ref", "$id", "$db")


def _field(path, condition):
    if not is_operators(condition):
        return _one(path, "$regex" if isinstance(condition, Regex) else "$eq", condition, {})
    tests = [_one(path, name, value, condition) for name, value in condition.items() if name != "$options"]
    return lambda document: all(test(document) for test in tests)


def _one(path, name, value, around):
    if name == "$ne":
        return _negated(_one(path, "$regex" if isinstance(value, Regex) else "$eq", value, {}))
    if name == "$nin":
        return _negated(_one(path, "$in", value, {}))
    if name == "$not":
        return _negated(_field(path, value))
    if name == "$exists":
        wanted = truth(value)
        return lambda document: any(one is not MISSING for one in lookup(document, path)) == wanted
    if name == "$size":
        return lambda document: any(isinstance(one, list) and len(one) == value for one in lookup(document, path))
    if name == "$elemMatch":
        inner = _element(value)
        return lambda document: any(isinstance(one, list) and any(map(inner, one)) for one in lookup(document, path))
    if name == "$all":
        tests = [_one(path, "$elemMatch", one["$elemMatch"], {}) if isinstance(one, dict) and "$elemMatch" in one
                 else _one(path, "$eq", one, {}) for one in value]
        return lambda document: bool(tests) and all(test(document) for test in tests)
    test = _value_test(name, value, around)
    return lambda document: any(map(test, candidates(document, path)))


def _negated(test):
    return lambda document: not test(document)


def _element(condition):
    """The test of $elemMatch on one element: operators on the element itself, or a query on a document in the array."""
    if is_operators(condition) and next(iter(condition)) not in ("$and", "$or", "$nor", "$expr"):
        inner = _field("e", condition)
        return lambda one: inner({"e": one})
    inner = matcher(condition)
    return lambda one: isinstance(one, dict) and inner(one)


def _value_test(name, value, around):
    if name == "$eq":
        key = sort_key(value)
        return lambda one: sort_key(one) == key
    if name in ("$gt", "$gte", "$lt", "$lte"):
        return _order_test(name, value)
    if name == "$in":
        if not isinstance(value, list):
            raise CommandError(2, "$in needs an array")
        keys = {sort_key(one) for one in value if not isinstance(one, Regex)}
        patterns = [_regex_test(one, "") for one in value if isinstance(one, Regex)]
        return lambda one: sort_key(one) in keys or any(test(one) for test in patterns)
    if name == "$regex":
        return _regex_test(value, around.get("$options", ""))
    if name == "$mod":
        return lambda one: is_number(one) and int(number(one)) % int(value[0]) == int(value[1])
    if name == "$type":
        wanted = {ALIASES.get(one, one) for one in (value if isinstance(value, list) else [value])}
        wanted |= {1, 16, 18, 19} if "number" in wanted else set()
        return lambda one: one is not MISSING and type_number(one) in wanted
    if name in ("$bitsAllSet", "$bitsAnySet", "$bitsAllClear", "$bitsAnyClear"):
        return _bits_test(name, value)
    raise CommandError(2, f"unknown operator: {name}")


def _bits_test(name, value):
    mask = sum(1 << bit for bit in value) if isinstance(value, list) else int(value)
    verdict = {"$bitsAllSet": lambda one: one & mask == mask, "$bitsAnySet": lambda one: one & mask != 0,
               "$bitsAllClear": lambda one: one & mask == 0, "$bitsAnyClear": lambda one: one & mask != mask}[name]
    return lambda one: is_number(one) and verdict(int(number(one)))


def _order_test(name, value):
    key = sort_key(value)
    verdict = {"$gt": lambda one: one > key, "$gte": lambda one: one >= key, "$lt": lambda one: one < key,
               "$lte": lambda one: one <= key}[name]

    def test(one):
        if one is MISSING and value is not None:
            return False
        mine = sort_key(one)
        return mine[0] == key[0] and verdict(mine) or (key[0] in (0, 100) and verdict(mine))
    return test


def _regex_test(value, options):
    if isinstance(value, Regex):
        pattern, flags = value.pattern, value.flags
    else:
        pattern, flags = value, 0
    for letter in options:
        flags |= FLAGS.get(letter, 0)
    try:
        compiled = re.compile(pattern, flags & ~re.L)
    except re.error as error:
        raise CommandError(51091, f"Regular expression is invalid: {error}") from error
    return lambda one: isinstance(one, str) and compiled.search(one) is not None or \
        isinstance(one, Regex) and equal(one, value)
