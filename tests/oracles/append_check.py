"""Looks in a history of appends for what must not be there: elements lost, doubled, out of order or from nowhere, transactions of
which a part happened, reads of what was undone, reads that are too old, and circles of dependencies.

The order of a list's elements is the order of the transactions that wrote it; all else follows (Kingsbury and Alvaro, "Elle").
"""

import bisect
import collections

from oracles.history import FAILED, LEVELS, OK, UNKNOWN
from oracles.bank import name


def check(transactions, final):
    """What is wrong, as sentences. `final`: {key: its elements at the end}; all transactions have ended."""
    return Checker(transactions, final).problems()


class Checker:
    """One history. Elements are unique, so each belongs to one transaction."""

    def __init__(self, transactions, final):
        self.transactions = transactions
        self.final = {key: tuple(elements) for key, elements in final.items()}
        self.writer = {}  # element: (its transaction, its key)
        for one in transactions:
            for op in one.ops:
                if op[0] == "append":
                    self.writer[op[2]] = one, op[1]
        self.place = {element: at for elements in self.final.values() for at, element in enumerate(elements)}

    def problems(self):
        found = self.contents() + self.outcomes() + self.reads()
        # Circles are told of only where the lists themselves are sound: else their order means nothing.
        return found or self.circles()

    def contents(self):
        """The lists at the end: each element there once, and appended by somebody to that list."""
        found = []
        for key, elements in sorted(self.final.items()):
            found += [f"element {element} is doubled in list {key}"
                      for element, count in collections.Counter(elements).items() if count > 1]
            found += [f"element {element} of list {key} is from nowhere"
                      for element in elements if self.writer.get(element, (None, None))[1] != key]
        return found

    def outcomes(self):
        """Each transaction: whole or not at all, and as its client was told."""
        found = []
        for one in self.transactions:
            appended = [op for op in one.ops if op[0] == "append"]
            there = [op for op in appended if op[2] in self.place]
            if one.outcome == OK and len(there) < len(appended):
                missing = [op[1:] for op in appended if op not in there]
                found.append(f"{name(one)} is lost: of list and element {missing} nothing is there")
            if one.outcome == FAILED and there:
                found.append(f"{name(one)} failed, and there is {[op[1:] for op in there]}")
            if one.outcome == UNKNOWN and there and len(there) < len(appended):
                found.append(f"{name(one)} happened in part: {len(there)} of {len(appended)}")
            places = collections.defaultdict(list)
            for op in there:
                places[op[1]].append(self.place[op[2]])
            found += [f"{name(one)} appended to list {key} in another order" for key, at in places.items() if at != sorted(at)]
        return found

    def reads(self):
        """Each read: a beginning of the list as it is at the end, with all that was acknowledged before it, and with its own."""
        found, acknowledged = [], self._acknowledged()
        for one in self.transactions:
            own = collections.defaultdict(tuple)
            for op in one.ops:
                if op[0] == "append":
                    own[op[1]] += (op[2],)
                    continue
                _, key, elements, since = op
                mine = own[key]
                seen = elements[:len(elements) - len(mine)] if mine else elements
                if mine and elements[len(seen):] != mine:
                    found.append(f"{name(one)} does not see its own appends to list {key}: {elements[-5:]}, own {mine}")
                if seen != self.final.get(key, ())[:len(seen)]:
                    found.append(self._wrong_order(one, key, seen))
                ends, places = acknowledged.get(key, ((), ()))
                at = bisect.bisect_left(ends, since)
                if at and len(seen) <= places[at - 1]:
                    found.append(f"{name(one)} read list {key} without what was acknowledged before: {len(seen)} elements")
        return found

    def _wrong_order(self, one, key, seen):
        final = self.final.get(key, ())
        for at, element in enumerate(seen):
            writer = self.writer.get(element, (None, None))[0]
            if writer is None:
                return f"{name(one)} read the element {element} in list {key}, which is from nowhere"
            if element not in self.place:
                return f"{name(one)} read the element {element} of {name(writer)} ({writer.outcome}) in list {key}, which is not there"
            if at >= len(final) or final[at] != element:
                return f"{name(one)} read list {key} in another order: {element} at {at}, at the end {final[at:at + 1]}"
        return f"{name(one)} read list {key} wrongly"

    def _acknowledged(self):
        """{key: (times of acknowledgements, the highest place acknowledged until then)}."""
        events = collections.defaultdict(list)
        for one in self.transactions:
            if one.outcome == OK:
                for op in one.ops:
                    if op[0] == "append" and op[2] in self.place:
                        events[op[1]].append((one.ended, self.place[op[2]]))
        told = {}
        for key, pairs in events.items():
            pairs.sort()
            highest, places = -1, []
            for _, place in pairs:
                highest = max(highest, place)
                places.append(highest)
            told[key] = [ended for ended, _ in pairs], places
        return told

    def circles(self):
        """Dependencies that no order of the transactions can satisfy: write-write and write-read at every level, with read-write
        (what was read was overwritten later) among the serializable ones."""
        committed = [one for one in self.transactions if one.outcome == OK or
                     (one.outcome == UNKNOWN and any(op[0] == "append" and op[2] in self.place for op in one.ops))]
        serializable = [one for one in committed if one.level == LEVELS[2]]
        found = []
        for kind, chosen, overwritten in (("of writes and reads", committed, False), ("among serializable ones", serializable, True)):
            circle = find_circle(self.dependencies(chosen, overwritten))
            if circle:
                by_number = {one.number: one for one in chosen}
                found.append(f"a circle {kind}: " + " → ".join(f"{name(by_number[number])} {by_number[number].ops}" for number in circle))
        return found

    def dependencies(self, chosen, overwritten):
        """{transaction: those that must come after it} by number."""
        numbers = {one.number for one in chosen}
        after = {number: set() for number in numbers}
        writers = {key: [self.writer[element][0].number for element in elements] for key, elements in self.final.items()}
        for order in writers.values():
            among = [number for number in order if number in numbers]
            for earlier, later in zip(among, among[1:]):
                after[earlier].add(later)
        for one in chosen:
            own = {op[2] for op in one.ops if op[0] == "append"}
            for op in one.ops:
                if op[0] != "read":
                    continue
                order = writers.get(op[1], [])
                seen = sum(element not in own for element in op[2])
                before = next((number for number in reversed(order[:seen]) if number in numbers), None)
                if before is not None:
                    after[before].add(one.number)
                # What was read must have been overwritten by a serializable one right away: the server keeps no account of others.
                if overwritten and seen < len(order) and order[seen] in numbers:
                    after[one.number].add(order[seen])
        for number in numbers:
            after[number].discard(number)
        return after


def find_circle(after):
    """A circle in a graph {node: nodes behind it} as a list that ends where it begins, or None."""
    before = collections.Counter(node for nodes in after.values() for node in nodes)
    free = [node for node in after if not before[node]]
    left = set(after)
    while free:
        node = free.pop()
        left.discard(node)
        for next_ in after[node]:
            before[next_] -= 1
            if not before[next_]:
                free.append(next_)
    if not left:
        return None
    # What is left may lead out of a circle as well: going backwards never does, for each of them has one before it.
    behind = {next_: node for node in left for next_ in after[node]}
    node, path = next(iter(left)), []
    while node not in path:
        path.append(node)
        node = behind[node]
    return list(reversed(path[path.index(node):] + [node]))
