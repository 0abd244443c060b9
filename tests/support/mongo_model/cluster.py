"""The set as a whole: who reaches whom, replication, the commit point, heartbeats and elections."""

import asyncio
import time
import traceback

from bson import ObjectId, Timestamp

from support.mongo_model.errors import CommandError
from support.mongo_model.journal import Clock, History
from support.mongo_model.member import ARBITER, MONGOS, PRIMARY, SECONDARY, STANDALONE, Member
from support.waiting import free_port


class Settings:
    """Times in seconds and what the servers say of themselves."""

    def __init__(self, **more):
        self.set_name = "rs0"
        self.wire = 9
        self.election = 0.5
        self.heartbeat = 0.05
        self.drain = 0.02
        self.lag = 0.0
        self.thaw_silence = 0.15
        self.shutdown_linger = 0.2
        self.quiesce = 0.5
        self.auth = False
        self.tls = None
        self.own_verifier = True
        self.users_behind = None  # what secondaries have of users: "none" of them, or "other" passwords
        self.product = "MongoDB"  # or one for each member
        self.build_info_auth = None
        self.broken_replies = 0
        for name, value in more.items():
            if not hasattr(self, name):
                raise TypeError(name)
            setattr(self, name, value)


class Cluster:
    """Members on loopback ports, in this process."""

    def __init__(self, count=3, kind="replica_set", port=None, mongos=0, arbiters=0, settings=None):
        self.host = "127.0.0.1"
        self.settings = settings or Settings()
        self.kind = kind
        self.clock = Clock()
        self.epoch = Timestamp(int(time.time()), 1)
        self.history = History()
        self.users = {}
        self.config_version = 1
        self.history_from = 0
        self.replica_set_id = ObjectId()
        kinds = [STANDALONE] if kind == "standalone" else [SECONDARY] * (count - arbiters) + [ARBITER] * arbiters
        ports = iter(range(port, port + len(kinds) + mongos)) if port else iter(free_port, None)
        self.members = [Member(self, index, next(ports), one) for index, one in enumerate(kinds)]
        self.voters = [one for one in self.members if one.in_set]
        self.routers = [Member(self, len(kinds) + index, next(ports), MONGOS) for index in range(mongos)]
        self._beat = None

    async def start(self):
        for member in self.members + self.routers:
            await member.start()
        if self.kind == "replica_set":
            await self.elect(self.members[0])
            self._beat = asyncio.create_task(self._heartbeats())

    async def close(self):
        if self._beat:
            self._beat.cancel()
        for member in self.members + self.routers:
            await member.end()

    # Who reaches whom

    @property
    def majority(self):
        return len(self.voters) // 2 + 1

    def reach(self, one, other):
        return one is other or one.alive and other.alive and not one.isolated and not other.isolated

    def visible(self, member):
        return [one for one in self.voters if self.reach(member, one)] if member.alive else []

    def primary(self):
        """The member that clients of the newest term should write to, or None."""
        found = [one for one in self.members if one.running and (one.role == PRIMARY or one.kind == STANDALONE)]
        return max(found, key=lambda one: one.term, default=None)

    def data_members(self):
        return [one for one in self.voters if one.kind != ARBITER]

    # Replication

    def replicate(self, primary):
        if not primary.in_set:
            return
        if self.settings.lag:
            asyncio.get_running_loop().call_later(self.settings.lag, self._replicate, primary)
            self._advance(primary)
        elif not self._replicate(primary):
            self._advance(primary)

    def _replicate(self, primary):
        """Whether the primary could: the others take over its log, and it learns what a majority has."""
        if primary.role != PRIMARY or not primary.alive:
            return False
        for member in self.data_members():
            if member is not primary and self.reach(primary, member) and not member.hold and member.term <= primary.term:
                # Who hears of a newer term so, and not by a heartbeat, is no primary any more either.
                if member.term < primary.term and member.role == PRIMARY:
                    member.step_down(primary.index)
                member.term = primary.term
                member.pull(primary)
                primary.acked[member.index] = len(primary.log)
        self._advance(primary)
        return True

    def _advance(self, primary):
        """Moves the commit point to what a majority of voters has."""
        lengths = [len(primary.log)] + [primary.acked.get(one.index, 0) for one in self.voters if one is not primary]
        primary.commit_length = max(primary.commit_length, sorted(lengths, reverse=True)[self.majority - 1])
        primary.progress.fire()
        for member in self.data_members():
            if member is not primary and self.reach(primary, member):
                # Of its own log only what the primary has too: the rest, of a term that is over, will be rolled back.
                member.commit_length = max(member.commit_length, min(primary.commit_length, member.common_length(primary)))

    # Elections

    async def _heartbeats(self):
        while True:
            await asyncio.sleep(self.settings.heartbeat)
            try:
                for member in self.voters:
                    if member.alive:
                        self._heartbeat(member)
                self._maybe_elect()
            except Exception:  # pylint: disable=broad-except
                # Without its heartbeats a set elects nobody any more, and nobody would learn why.
                traceback.print_exc()

    def _heartbeat(self, member):
        others = self.visible(member)
        newest = max(one.term for one in others)
        if newest > member.term:
            member.term = newest
            if member.role == PRIMARY:
                member.step_down()
        if member.role == PRIMARY:
            if len(others) >= self.majority:
                member.no_majority_since = None
            elif member.no_majority_since is None:
                member.no_majority_since = time.monotonic()
            elif time.monotonic() - member.no_majority_since > self.settings.election:
                member.step_down()
            if member.role == PRIMARY:
                self._replicate(member)
            return
        leader = next((one for one in others if one.role == PRIMARY and one.term == newest), None)
        member.see_primary(leader.index if leader else None)

    def _maybe_elect(self):
        now = time.monotonic()
        for member in self.data_members():
            if member.alive and member.role == SECONDARY and member.primary_view is None and now >= member.not_before \
                    and now - member.no_primary_since > self.settings.election:
                candidate = self.candidate(member)
                if candidate:
                    asyncio.ensure_future(self.elect(candidate))
                    return

    def candidate(self, member):
        """The member that those whom `member` sees would elect: the newest log wins."""
        seen = self.visible(member)
        fit = [one for one in seen if one.kind != ARBITER and one.role == SECONDARY and time.monotonic() >= one.not_before]
        if len(seen) < self.majority or not fit:
            return None
        return max(fit, key=lambda one: (one.log[-1].term if one.log else 0, len(one.log), -one.index))

    async def elect(self, member):
        """Makes `member` the primary of a new term, among those whom it reaches."""
        seen = self.visible(member)
        if len(seen) < self.majority:
            raise CommandError(125, "no majority to elect this member")
        best = max((one for one in seen if one.kind != ARBITER), key=lambda one: (one.log[-1].term if one.log else 0, len(one.log)))
        if best is not member:
            member.pull(best)
        term = max(one.term for one in self.voters if one in seen) + 1
        for one in seen:
            one.term = term
            if one is not member and one.role == PRIMARY:
                one.step_down(member.index)
        member.become_primary(term)
        for one in seen:
            if one is not member:
                one.see_primary(member.index)
        await asyncio.sleep(self.settings.drain)
        if member.role == PRIMARY and member.term == term and member.running:
            member.finish_drain()

    async def step_down(self, member, seconds=10.0, catch_up=10.0, force=False, hand_over=True):
        """replSetStepDown: waits for a caught-up secondary, steps down, and lets that one be elected."""
        if member.role != PRIMARY:
            raise CommandError(10107, "not primary so can't step down")
        end = time.monotonic() + catch_up
        member.stepping_down = True
        member.changed()
        while not (ready := self._caught_up(member)) and time.monotonic() < end and member.role == PRIMARY:
            await asyncio.sleep(min(0.01, catch_up))
        if not ready and not force:
            member.stepping_down = False
            member.sessions.abort_all()
            member.changed()
            raise CommandError(262, "No electable secondaries caught up as of " + time.strftime("%Y-%m-%dT%H:%M:%S") +
                               ". Please use the replSetStepDown command with the argument {force: true} to force node to step down.")
        member.not_before = time.monotonic() + seconds
        if member.role == PRIMARY:
            member.step_down()
        if ready and hand_over:
            asyncio.ensure_future(self.elect(ready))

    def _caught_up(self, primary):
        self._replicate(primary)
        return next((one for one in self.data_members() if one is not primary and self.reach(primary, one)
                     and len(one.log) == len(primary.log) and one.log[-1:] == primary.log[-1:]), None)

    # Ends of processes

    async def stop(self, member):
        """A clean shutdown: hands over, answers 11600 (from wire version 13 on 91, in its quiet time), then is gone."""
        if member.role == PRIMARY:
            try:
                await self.step_down(member, catch_up=0.5, force=True)
            except CommandError:
                pass
        if self.settings.wire >= 13:
            member.dying = 91
            member.changed()
            await asyncio.sleep(self.settings.quiesce)
        else:
            member.dying = "linger" if member.in_set else None
            member.changed()
            await asyncio.sleep(self.settings.shutdown_linger)
        member.dying = 11600
        for op in list(member.operations):
            op.interrupt(11600, "interrupted at shutdown")
        await asyncio.sleep(0.04)
        await member.end(reset=False)
