"""Aggregation expressions: evaluates one on a document. Enough for what drivers' suites and the tests here use."""

from bson import Decimal128, Int64

from support.mongo_model.errors import CommandError
from support.mongo_model.paths import read
from support.mongo_model.values import MISSING, is_number, number, sort_key, type_number, ALIASES


def truth(value):
    return value is not MISSING and value is not None and value is not False and not (is_number(value) and number(value) == 0)


def evaluate(expression, document, variables=None):
    """The value of `expression`, or MISSING."""
    if isinstance(expression, str) and expression.startswith("$$"):
        name, _, rest = expression[2:].partition(".")
        values = {"ROOT": document, "CURRENT": document, "REMOVE": MISSING, **(variables or {})}
        if name not in values:
            raise CommandError(17276, f"Use of undefined variable: {name}")
        return read(values[name], rest) if rest else values[name]
    if isinstance(expression, str) and expression.startswith("$"):
        return read(document, expression[1:])
    if isinstance(expression, list):
        return [None if (one := evaluate(item, document, variables)) is MISSING else one for item in expression]
    if isinstance(expression, dict):
        if len(expression) == 1 and (name := next(iter(expression))).startswith("$"):
            return _operator(name, expression[name], document, variables)
        values = {name: evaluate(one, document, variables) for name, one in expression.items()}
        return {name: one for name, one in values.items() if one is not MISSING}
    return expression


def typed(result, *operands):
    """A result with the widest type of its operands."""
    if any(isinstance(one, Decimal128) for one in operands):
        return Decimal128(str(result))
    if isinstance(result, int) and (any(isinstance(one, Int64) for one in operands) or not -2**31 <= result < 2**31):
        return Int64(result)
    return result


def add(left, right):
    return typed(_mix(left, right, lambda a, b: a + b), left, right)


def multiply(left, right):
    return typed(_mix(left, right, lambda a, b: a * b), left, right)


def _mix(left, right, operation):
    """Python refuses float with Decimal; a server converts."""
    left, right = number(left), number(right)
    if type(left).__name__ == "Decimal" and isinstance(right, float):
        right = type(left)(repr(right))
    elif type(right).__name__ == "Decimal" and isinstance(left, float):
        left = type(right)(repr(left))
    return operation(left, right)


def _fold(function, start):
    def run(values):
        result = start
        for one in values:
            if one is None or one is MISSING:
                return None
            if not is_number(one):
                raise CommandError(14, "only supports numeric types")
            result = function(result, one)
        return result
    return run


def _compare(test):
    return lambda values: test(sort_key(values[0]), sort_key(values[1]))


SIMPLE = {
    "$add": _fold(add, 0), "$multiply": _fold(multiply, 1),
    "$subtract": lambda v: None if None in v else add(v[0], multiply(v[1], -1)),
    "$divide": lambda v: None if None in v else float(number(v[0])) / float(number(v[1])),
    "$mod": lambda v: None if None in v else typed(number(v[0]) % number(v[1]), *v),
    "$abs": lambda v: None if None in v else typed(abs(number(v[0])), v[0]),
    "$eq": _compare(lambda a, b: a == b), "$ne": _compare(lambda a, b: a != b), "$gt": _compare(lambda a, b: a > b),
    "$gte": _compare(lambda a, b: a >= b), "$lt": _compare(lambda a, b: a < b), "$lte": _compare(lambda a, b: a <= b),
    "$cmp": _compare(lambda a, b: (a > b) - (a < b)),
    "$and": lambda v: all(map(truth, v)), "$or": lambda v: any(map(truth, v)), "$not": lambda v: not truth(v[0]),
    "$concat": lambda v: None if None in v else "".join(v),
    "$toUpper": lambda v: str(v[0] or "").upper(), "$toLower": lambda v: str(v[0] or "").lower(),
    "$strLenCP": lambda v: len(v[0]), "$toString": lambda v: None if v[0] is None else str(v[0]),
    "$toInt": lambda v: None if v[0] is None else int(number(v[0])), "$toDouble": lambda v: None if v[0] is None else float(number(v[0])),
    "$size": lambda v: len(v[0]), "$in": lambda v: sort_key(v[0]) in {sort_key(one) for one in v[1]},
    "$arrayElemAt": lambda v: v[0][int(v[1])] if -len(v[0]) <= v[1] < len(v[0]) else MISSING,
    "$first": lambda v: v[0][0] if v[0] else MISSING, "$last": lambda v: v[0][-1] if v[0] else MISSING,
    "$concatArrays": lambda v: None if None in v else [one for part in v for one in part],
    "$mergeObjects": lambda v: {name: one for part in v if part for name, one in part.items()},
    "$type": lambda v: {code: name for name, code in ALIASES.items()}.get(type_number(v[0]), "missing"),
}

ONE_ARRAY = {"$size", "$first", "$last"}


def _operator(name, operand, document, variables):
    if name == "$literal":
        return operand
    if name == "$cond":
        parts = operand if isinstance(operand, list) else [operand["if"], operand["then"], operand["else"]]
        return evaluate(parts[1] if truth(evaluate(parts[0], document, variables)) else parts[2], document, variables)
    if name == "$ifNull":
        for one in operand:
            value = evaluate(one, document, variables)
            if value is not MISSING and value is not None:
                return value
        return None
    if name in ("$sum", "$avg", "$min", "$max"):
        value = evaluate(operand, document, variables)
        return accumulate(name, value if isinstance(value, list) else [value])
    if name in ("$map", "$filter"):
        return _each(name, operand, document, variables)
    if name not in SIMPLE:
        raise CommandError(168, f"Unrecognized expression '{name}'")
    if isinstance(operand, list) and not (name in ONE_ARRAY and len(operand) != 1):
        values = [evaluate(one, document, variables) for one in operand]
    else:
        values = [evaluate(operand, document, variables)]
    return SIMPLE[name]([None if one is MISSING else one for one in values])


def _each(name, operand, document, variables):
    values = evaluate(operand["input"], document, variables)
    if values is MISSING or values is None:
        return None
    scope = [{**(variables or {}), operand.get("as", "this"): one} for one in values]
    if name == "$map":
        return [evaluate(operand["in"], document, one) for one in scope]
    return [one for one, around in zip(values, scope) if truth(evaluate(operand["cond"], document, around))]


def accumulate(name, values):
    """What an accumulator makes of the values of a group."""
    values = [None if one is MISSING and name in ("$push", "$first", "$last") else one for one in values]
    present = [one for one in values if one is not MISSING and one is not None]
    numbers = [one for one in present if is_number(one)]
    if name in ("$sum", "$count"):
        total = 0
        for one in numbers:
            total = add(total, one)
        return total
    if name == "$avg":
        return sum(float(number(one)) for one in numbers) / len(numbers) if numbers else None
    if name in ("$min", "$max"):
        return {"$min": min, "$max": max}[name](present, key=sort_key) if present else None
    if name == "$push":
        return [one for one in values if one is not MISSING]
    if name == "$addToSet":
        return list({sort_key(one): one for one in values if one is not MISSING}.values())
    if name in ("$first", "$last"):
        return values[0 if name == "$first" else -1] if values else None
    raise CommandError(15952, f"unknown group operator '{name}'")
