"""Order and equality of BSON values as a server sees them: one sort key that compares across all types."""

import datetime
from decimal import Decimal

from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS

MISSING = object()

ALIASES = {"double": 1, "string": 2, "object": 3, "array": 4, "binData": 5, "objectId": 7, "bool": 8, "date": 9, "null": 10,
           "regex": 11, "javascript": 13, "int": 16, "timestamp": 17, "long": 18, "decimal": 19, "minKey": -1, "maxKey": 127}


def is_number(value):
    return isinstance(value, (int, float, Decimal128)) and not isinstance(value, bool)


def number(value):
    """A number that Python can compare and compute with."""
    return value.to_decimal() if isinstance(value, Decimal128) else value


def milliseconds(value):
    """A date's milliseconds since 1970."""
    if isinstance(value, DatetimeMS):
        return int(value)
    return int(value.replace(tzinfo=value.tzinfo or datetime.timezone.utc).timestamp() * 1000)


def type_number(value):
    """The BSON type number of a value."""
    if isinstance(value, bool):
        return 8
    for kinds, code in (((Int64,), 18), ((int,), 16 if not isinstance(value, int) or -2**31 <= value < 2**31 else 18), ((float,), 1),
                        ((Code,), 13), ((str,), 2), ((dict, DBRef), 3), ((list, tuple), 4), ((bytes, Binary), 5), ((ObjectId,), 7),
                        ((DatetimeMS, datetime.datetime), 9), ((Regex,), 11), ((Timestamp,), 17), ((Decimal128,), 19),
                        ((MinKey,), -1), ((MaxKey,), 127)):
        if isinstance(value, kinds):
            return code
    return 10


def sort_key(value):
    """A tuple that orders any two values as a server does; equal values have equal, hashable keys."""
    if value is MISSING or value is None:
        return (5,)
    if isinstance(value, ObjectId):  # most documents' _id
        return (35, value.binary)
    if isinstance(value, bool):
        return (40, value)
    if isinstance(value, (int, float, Decimal128)):
        plain = number(value)
        if plain != plain:
            return (10, 0)
        return (10, 1, plain if not isinstance(plain, Decimal) or plain.is_finite() else float(plain))
    if isinstance(value, str):
        return (15, value.encode("utf-8", "replace"))
    if isinstance(value, DBRef):
        value = dict(value.as_doc())
    if isinstance(value, dict):
        keys = [(name, sort_key(one)) for name, one in value.items()]
        return (20, tuple((key[0], name, key) for name, key in keys))
    if isinstance(value, (list, tuple)):
        return (25, tuple(sort_key(one) for one in value))
    if isinstance(value, (bytes, Binary)):
        return (30, len(value), getattr(value, "subtype", 0), bytes(value))
    if isinstance(value, (DatetimeMS, datetime.datetime)):
        return (45, milliseconds(value))
    if isinstance(value, Timestamp):
        return (47, value.time, value.inc)
    if isinstance(value, Regex):
        return (50, str(value.pattern), value.flags)
    if isinstance(value, MinKey):
        return (0,)
    if isinstance(value, MaxKey):
        return (100,)
    return (60, str(value))


def equal(left, right):
    return sort_key(left) == sort_key(right)


def same(left, right):
    """Whether two documents are the same in order and types: an update to the same document changes nothing."""
    return type_number(left) == type_number(right) and (
        list(left) == list(right) and all(same(left[name], right[name]) for name in left) if isinstance(left, dict)
        else len(left) == len(right) and all(map(same, left, right)) if isinstance(left, (list, tuple))
        else equal(left, right))
