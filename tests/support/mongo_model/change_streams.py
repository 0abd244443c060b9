"""Change streams over a member's journal, with resume tokens."""

import bisect

import bson

from support.mongo_model import pipeline, resume_tokens
from support.mongo_model.change_events import ChangeEvents
from support.mongo_model.errors import CommandError
from support.mongo_model.resume_tokens import MARK, position, token

EVENT_MAX = 16 * 1024 * 1024
SPLIT = "$changeStreamSplitLargeEvent"
ALLOWED = ("$match", "$project", "$addFields", "$set", "$unset", "$replaceRoot", "$replaceWith", "$redact")
STARTS = ("resumeAfter", "startAfter", "startAtOperationTime")
DOCUMENTS = {"fullDocument": ("default", "updateLookup", "whenAvailable", "required"),
             "fullDocumentBeforeChange": ("off", "whenAvailable", "required")}


class ChangeStream:
    """Called, it gives the events since the last call."""

    is_change_stream = True

    def __init__(self, op, spec, stages):
        self.member = op.member
        self.splits = bool(stages) and SPLIT in stages[-1]
        self.stages = stages[:-1] if self.splits else stages
        target = op.doc["aggregate"]
        self.events = ChangeEvents(op.member, spec, None if spec.get("allChangesForCluster") else op.database,
                                   target if isinstance(target, str) else None)
        self.ended = False
        log = op.member.log
        self.last = token(log[-1].ts if log else op.member.cluster.epoch, MARK)
        self.after = position(self.last)
        resume = spec.get("resumeAfter") or spec.get("startAfter")
        if resume is not None:
            self.after, self.last = position(resume), resume
            if "resumeAfter" in spec and resume_tokens.is_of_invalidate(resume):
                raise CommandError(260, "Attempting to resume a change stream using 'resumeAfter' is not allowed from an invalidate "
                                        "notification.")
        elif "startAtOperationTime" in spec:
            self.after = resume_tokens.before(spec["startAtOperationTime"])
        self._go_back()

    def _go_back(self):
        """Reads the journal from behind `after` on, wherever that is in the log that the member has now."""
        log = self.member.log
        self.read_to = bisect.bisect_right(log[:self.member.commit_length], self.after, key=lambda entry: (entry.ts, MARK, MARK))
        self.events.past = self.member.store.snapshot() if self.read_to == len(log) else self.member.built(log[:self.read_to])

    def token(self, batch, left):
        """postBatchResumeToken of a batch: behind it there may be events that were read and wait for the next."""
        return batch[-1]["_id"] if batch and left else self.last

    def __call__(self):
        member, found = self.member, []
        length = member.commit_length
        if length < self.read_to:
            self._go_back()
        for entry in member.log[self.read_to:length]:
            for index, operation in enumerate(entry.operations):
                if (entry.ts, index, MARK) <= self.after or self.ended:
                    self.events.skip(operation)
                    continue
                found += self.events.of(entry, index)
                self.ended = bool(found) and found[-1]["operationType"] == "invalidate"
        start = self.after
        if length:
            last = member.log[length - 1].ts
            if (last, MARK, MARK) > self.after:
                self.after, self.last = (last, MARK, MARK), token(last, MARK)
        self.read_to = length
        return self._shaped(found, start)

    def _shaped(self, found, start):
        """The events behind the stages, in parts where they are too large for one document."""
        if not found:
            return found
        if self.ended:
            self.last = found[-1]["_id"]
        found = pipeline.run(found, self.stages, None)
        if any("_id" not in one for one in found):
            self.ended = True
            raise CommandError(280, "Encountered an event whose _id field, which contains the resume token, was "
                                    "modified by the pipeline.")
        parts = [part for one in found for part in self._parts(one)]
        return [one for one in parts if position(one["_id"]) > start]

    def _parts(self, event):
        if len(bson.encode(event)) <= EVENT_MAX:
            return [event]
        if not self.splits:
            raise CommandError(10334, "BSONObj size is invalid. Size must be between 0 and 16793600(16MB)")
        sizes = {name: len(bson.encode({name: one})) for name, one in event.items() if name != "_id"}
        room = EVENT_MAX - 1024
        groups, taken = [[]], 0
        for name in sorted(sizes, key=sizes.get):
            if groups[-1] and taken + sizes[name] > room:
                groups.append([])
                taken = 0
            groups[-1].append(name)
            taken += sizes[name]
        ts, index, _ = position(event["_id"])
        return [{"_id": token(ts, index, fragment=number), "splitEvent": {"fragment": number, "of": len(groups)},
                 **{name: event[name] for name in names}} for number, names in enumerate(groups, 1)]


def _check(op, spec, stages):
    if op.transaction:
        raise CommandError(263, "$changeStream cannot be used in a transaction")
    level = op.doc.get("readConcern", {}).get("level", "majority")
    if level != "majority":
        raise CommandError(72, "Aggregation stage $changeStream cannot run with a readConcern other than 'majority', or in a "
                               f"multi-document transaction. Current readConcern: {level}")
    for place, stage in enumerate(stages):
        name = next(iter(stage), "")
        if name == SPLIT and op.member.cluster.settings.wire >= 17:
            if place != len(stages) - 1:
                raise CommandError(7182802, f"{SPLIT} must be the last stage in the pipeline")
        elif name not in pipeline.STAGES:
            raise CommandError(40324, f"Unrecognized pipeline stage name: '{name}'")
        elif name not in ALLOWED:
            raise CommandError(20, f"{name} is not permitted in a $changeStream pipeline")
    unknown = set(spec) - {*STARTS, *DOCUMENTS, "allChangesForCluster", "showExpandedEvents"}
    if unknown:
        raise CommandError(40415, f"BSON field '$changeStream.{unknown.pop()}' is an unknown field.")
    for name, known in DOCUMENTS.items():
        if spec.get(name, known[0]) not in known:
            raise CommandError(2, f"Enumeration value '{spec[name]}' for field '$changeStream.{name}' is not a valid value.")
    if len(set(spec) & set(STARTS)) > 1:
        raise CommandError(40674, "Only one type of resume option is allowed, but multiple were found.")


def open_stream(op, stages):
    """The stream of an aggregate whose first stage is $changeStream."""
    if not op.member.in_set:
        raise CommandError(40573, "The $changeStream stage is only supported on replica sets")
    spec = stages[0]["$changeStream"]
    _check(op, spec, stages[1:])
    return ChangeStream(op, spec, stages[1:])
