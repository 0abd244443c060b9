"""What an update changed in a document, as a change event describes it."""

from support.mongo_model.values import same


def described(before, after, arrays, ambiguous):
    """updateDescription. `arrays`: with truncatedArrays and elements by their index, as from 5.0 on; else an array is one value.
    `ambiguous`: with disambiguatedPaths. The journal keeps documents and no updates: a value is described by the parts that differ, also
    where the update set the whole."""
    found = {"updatedFields": {}, "removedFields": []}
    if arrays:
        found["truncatedArrays"] = []
    if ambiguous:
        found["disambiguatedPaths"] = {}
    _compare(found, (), before, after)
    return found


def _path(found, parts):
    path = ".".join(map(str, parts))
    if "disambiguatedPaths" in found:
        if any("." in one or index and one.isdigit() for index, one in enumerate(parts) if isinstance(one, str)):
            found["disambiguatedPaths"][path] = list(parts)
    return path


def _compare(found, parts, before, after):
    """Two values at one path that may have parts of their own."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in before:
            if name not in after:
                found["removedFields"].append(_path(found, (*parts, name)))
        for name, one in after.items():
            _part(found, (*parts, name), before, name, one)
    elif isinstance(before, list) and isinstance(after, list) and "truncatedArrays" in found:
        if len(after) < len(before):
            found["truncatedArrays"].append({"field": _path(found, parts), "newSize": len(after)})
        known = dict(enumerate(before))
        for index, one in enumerate(after):
            _part(found, (*parts, index), known, index, one)
    else:
        found["updatedFields"][_path(found, parts)] = after


def _part(found, parts, before, name, after):
    if name not in before:
        found["updatedFields"][_path(found, parts)] = after
    elif not same(before[name], after):
        _compare(found, parts, before[name], after)
