"""Dotted paths into documents: what a filter sees through arrays, what a projection reads, how an update sets and removes."""

from support.mongo_model.errors import CommandError
from support.mongo_model.values import MISSING


def lookup(value, path):
    """Every value that `path` reaches, arrays of documents walked through; MISSING where a branch ends early."""
    found = []
    _walk(value, path.split("."), found)
    return found


def _walk(value, parts, found):
    if not parts:
        found.append(value)
        return
    head, rest = parts[0], parts[1:]
    if isinstance(value, dict):
        if head in value:
            _walk(value[head], rest, found)
        else:
            found.append(MISSING)
    elif isinstance(value, list):
        if head.isdigit() and int(head) < len(value):
            _walk(value[int(head)], rest, found)
        for one in value:
            if isinstance(one, dict):
                _walk(one, parts, found)
    else:
        found.append(MISSING)


def candidates(value, path):
    """What a condition on `path` is tried on: the values reached, and the elements of those that are arrays."""
    found = []
    for one in lookup(value, path):
        found.append(one)
        if isinstance(one, list):
            found.extend(one)
    return found or [MISSING]


def read(value, path):
    """The value at `path` as an expression sees it: arrays of documents give arrays."""
    for number, part in enumerate(parts := path.split(".")):
        if isinstance(value, list):
            rest = ".".join(parts[number:])
            return [one for one in (read(item, rest) for item in value if isinstance(item, dict)) if one is not MISSING]
        if not isinstance(value, dict) or part not in value:
            return MISSING
        value = value[part]
    return value


def copy(value):
    """A copy whose dictionaries and lists may be changed."""
    if isinstance(value, dict):
        return {name: copy(one) for name, one in value.items()}
    if isinstance(value, list):
        return [copy(one) for one in value]
    return value


def _child(container, part, create):
    if isinstance(container, list):
        if not part.isdigit():
            raise CommandError(28, f"Cannot create field '{part}' in element")
        index = int(part)
        while create and len(container) <= index:
            container.append(None)
        return index if index < len(container) else None
    if isinstance(container, dict):
        return part if part in container or create else None
    return None


def holder(document, path, create=False):
    """(container, key) of the last part of `path`, or (None, None) where it does not exist and `create` is false."""
    parts = path.split(".")
    container = document
    for part in parts[:-1]:
        missing = isinstance(container, dict) and part not in container
        key = _child(container, part, create)
        if key is None:
            return None, None
        if create and (missing or container[key] is None and isinstance(container, list)):
            container[key] = {}
        container = container[key]
        if not isinstance(container, (dict, list)):
            if create:
                raise CommandError(28, f"Cannot create field '{parts[-1]}' in element {{{part}: {container!r}}}")
            return None, None
    key = _child(container, parts[-1], create)
    return (None, None) if key is None else (container, key)


def get(document, path):
    container, key = holder(document, path)
    if container is None or isinstance(container, dict) and key not in container:
        return MISSING
    return container[key]


def put(document, path, value):
    container, key = holder(document, path, create=True)
    container[key] = value


def remove(document, path):
    container, key = holder(document, path)
    if container is None:
        return
    if isinstance(container, list):
        container[key] = None
    else:
        container.pop(key, None)
