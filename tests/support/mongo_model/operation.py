"""One command while it runs on a member: its deadline, and how a step down, a shutdown or a kill ends its waiting."""

import asyncio

from support.mongo_model.errors import CommandError


class Operation:
    """`wait` waits for something, and raises the error that `interrupt` gave in the meantime, or 50 at the deadline."""

    def __init__(self, member, connection, name, doc):
        self.member = member
        self.connection = connection
        self.name = name
        self.doc = doc
        self.lsid = None
        self.number = None
        self.started = asyncio.get_running_loop().time()
        self.deadline = None
        self.interruption = None
        self.session = None
        self.transaction = None
        self.retryable = False
        self.entries = []
        self.writes = False
        self.waits_for_concern = False
        self.ending = name in ("commitTransaction", "abortTransaction")
        self.retried = []
        self.sent_counter = 0
        self.is_change_stream = False
        self.request = None
        self._interrupted = asyncio.Event()

    @property
    def database(self):
        return self.doc.get("$db", "admin")

    def namespace(self, name=None):
        """database.collection of the command's first field."""
        collection = self.doc[self.name] if name is None else name
        if not isinstance(collection, str):
            raise CommandError(73, "collection name has invalid type " + type(collection).__name__)
        if not collection or collection.startswith(".") or "$" in collection and not collection.startswith("$cmd"):
            raise CommandError(73, f"Invalid namespace specified '{self.database}.{collection}'")
        return f"{self.database}.{collection}"

    def acknowledged(self, document):
        """Notes in the history that the client was told of what this operation wrote."""
        if document.get("ok") != 1.0:
            return
        w = self.doc.get("writeConcern", {}).get("w", 1)
        sure = (w == "majority" or isinstance(w, int) and w >= self.member.cluster.majority) and "writeConcernError" not in document
        for entry in self.entries:
            if sure or not entry.acknowledged:
                entry.acknowledged = "majority" if sure else "w:1"

    def interrupt(self, code, message):
        if self.interruption is None:
            self.interruption = CommandError(code, message)
            self._interrupted.set()

    def limit(self, seconds):
        """Sets the deadline, so many seconds from its begin."""
        self.deadline = self.started + seconds
        self.check()
        if self.member.fail_points.hit_place("maxTimeAlwaysTimeOut") is not None:
            raise CommandError(50, "operation exceeded time limit")

    def check(self):
        if self.interruption:
            raise self.interruption
        if self.deadline is not None and asyncio.get_running_loop().time() >= self.deadline:
            raise CommandError(50, "operation exceeded time limit")

    async def wait(self, awaitable, seconds=None):
        """True when `awaitable` is done, False after `seconds`."""
        self.check()
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(awaitable)
        stop = asyncio.ensure_future(self._interrupted.wait())
        limits = [one for one in (None if seconds is None else loop.time() + seconds, self.deadline) if one is not None]
        try:
            done, _ = await asyncio.wait({task, stop}, timeout=max(min(limits) - loop.time(), 0) if limits else None,
                                         return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            if not task.done():
                task.cancel()
        if task in done:
            task.result()
            return True
        self.check()
        return False
