"""Resume tokens: where in the journal a change stream stands. They order as strings, and as the tuples that they are read into."""

from bson import Timestamp

from support.mongo_model.errors import CommandError

MARK = 0xFFFFFFFF
EVENT, INVALIDATE = "04", "06"


def token(ts, index, end=EVENT, fragment=None):
    """The token of the `index`-th operation of the entry at `ts`; MARK stands behind them all. `fragment`: a part of its event, from 1."""
    return {"_data": f"82{ts.time:08X}{ts.inc:08X}2B{index:08X}{end}" + ("" if fragment is None else f"{fragment:08X}")}


def position(found):
    """(ts, index, fragment) of a token; a whole event's fragment is MARK."""
    try:
        data = found["_data"]
        return Timestamp(int(data[2:10], 16), int(data[10:18], 16)), int(data[20:28], 16), int(data[30:38] or "FFFFFFFF", 16)
    except (KeyError, TypeError, ValueError) as error:
        raise CommandError(9, "invalid resume token") from error


def is_of_invalidate(found):
    return found["_data"][28:30] == INVALIDATE


def before(ts):
    """The position before all that happened at `ts`."""
    return (Timestamp(ts.time, ts.inc - 1) if ts.inc else Timestamp(ts.time - 1, MARK)), MARK, MARK
