"""Write concern: waits until enough members have what an operation wrote, or says in writeConcernError why not."""

import asyncio

from support.mongo_model.errors import CommandError, code_name


def _parsed(op):
    concern = op.doc.get("writeConcern")
    if concern is None:
        return {"w": 1, "wtimeout": 0}, False
    if not isinstance(concern, dict):
        raise CommandError(14, "writeConcern must be an object")
    w = concern.get("w", 1)
    if not isinstance(w, (int, str)):
        raise CommandError(9, "w has to be a number or string")
    if isinstance(w, int) and not 0 <= w <= 50:
        raise CommandError(9, "w has to be a non-negative number and not greater than 50")
    unknown = set(concern) - {"w", "j", "wtimeout", "fsync", "getLastError", "provenance"}
    if unknown:
        raise CommandError(9, f"unrecognized write concern field: {unknown.pop()}")
    return {"w": w, "wtimeout": int(concern.get("wtimeout", 0) or 0)}, True


def _problem(code, words, concern, **more):
    return {"code": code, "codeName": code_name(code), "errmsg": words,
            "errInfo": {**more, "writeConcern": {**concern, "provenance": "clientSupplied"}}}


def check(op):
    """Refuses a write concern that cannot be, before anything is written."""
    concern, given = _parsed(op)
    w = concern["w"]
    too_much = isinstance(w, int) and w > 1 or isinstance(w, str) and w != "majority"
    if given and too_much and op.member.kind == "standalone":
        raise CommandError(2, "cannot use 'w' > 1 when a host is not replicated")


def is_none(op):
    """Whether the client asked for no acknowledgement."""
    concern = op.doc.get("writeConcern")
    return isinstance(concern, dict) and concern.get("w") == 0


async def wait(op):
    """None, or the writeConcernError."""
    member, (concern, given) = op.member, _parsed(op)
    w = concern["w"]
    if not given or w in (0, 1) or not member.in_set:
        return None
    data = member.cluster.data_members()
    if isinstance(w, str) and w != "majority":
        return _problem(79, f"No write concern mode named '{w}' found in replica set configuration", concern)
    if isinstance(w, int) and w > len(data):
        return _problem(100, "Not enough data-bearing nodes", concern)
    length, term = len(member.log), member.term

    def satisfied():
        if w == "majority":
            return member.commit_length >= length
        return 1 + sum(1 for one in data if one is not member and member.acked.get(one.index, 0) >= length) >= w

    op.waits_for_concern = True
    end = asyncio.get_running_loop().time() + concern["wtimeout"] / 1000 if concern["wtimeout"] else None
    try:
        while not satisfied():
            if member.role != "primary" or member.term != term:
                raise CommandError(11602, "operation was interrupted")
            left = None if end is None else end - asyncio.get_running_loop().time()
            if left is not None and left <= 0:
                return _problem(64, "waiting for replication timed out", concern, wtimeout=True)
            await op.wait(member.progress.next(), left)
    except CommandError as error:
        if error.code not in (11602, 11600, 50):
            raise
        return _problem(error.code, error.message, concern)
    return None
