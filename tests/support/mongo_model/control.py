"""The control port: one JSON document a line, {"do": "kill", "member": 0}, and one line back: {"ok": true} or an error."""

import asyncio
import json

from support.mongo_model.errors import CommandError

CODE_DEFAULT = 11602


class Control:
    """Serves tests that drive the set."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.port = None
        self._server = None

    async def start(self, port=0):
        self._server = await asyncio.start_server(self._serve, self.cluster.host, port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader, writer):
        try:
            while line := await reader.readline():
                try:
                    answer = {"ok": True, **(await self.run(json.loads(line)) or {})}
                except CommandError as error:
                    answer = {"ok": False, "error": error.message, "code": error.code}
                except Exception as error:  # pylint: disable=broad-except
                    answer = {"ok": False, "error": f"{type(error).__name__}: {error}"}
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass  # cancelled at the end of the process; Python 3.11 would print that of a server's connection
        finally:
            writer.close()

    async def run(self, order):
        name = order.get("do")
        action = getattr(self, f"_do_{name}", None)
        if not isinstance(name, str) or action is None:
            known = sorted(one[4:] for one in dir(self) if one.startswith("_do_"))
            raise CommandError(59, f"unknown order {name!r}; known are {', '.join(known)}")
        return await action(order)

    def _member(self, order):
        """The member by number, address or "primary"."""
        which = order.get("member", "primary")
        everyone = self.cluster.members + self.cluster.routers
        if which == "primary":
            found = self.cluster.primary()
            if found is None:
                raise CommandError(133, "there is no primary")
            return found
        for one in everyone:
            if which in (one.index, one.address):
                return one
        raise CommandError(2, f"no member {which!r}")

    async def _do_kill(self, order):
        """The process is gone at once; `how`: "rst" (default) or "fin" for its connections."""
        await self._member(order).end(reset=order.get("how", "rst") == "rst")

    async def _do_start(self, order):
        await self._member(order).start()

    async def _do_stop(self, order):
        """A clean shutdown; returns when the process is gone."""
        await self.cluster.stop(self._member(order))

    async def _do_step_down(self, order):
        member = self._member(order)
        await self.cluster.step_down(member, order.get("seconds", 10.0), order.get("catch_up", 10.0), bool(order.get("force")),
                                     order.get("hand_over", True))

    async def _do_elect(self, order):
        await self.cluster.elect(self._member(order))

    async def _do_freeze(self, order):
        self._member(order).freeze()

    async def _do_thaw(self, order):
        self._member(order).thaw(order.get("silent", self.cluster.settings.thaw_silence))

    async def _do_partition(self, order):
        """Cuts a member from the others; with `clients` from its clients too, silently."""
        self._member(order).isolate(True, bool(order.get("clients")))

    async def _do_heal(self, order):
        for member in [self._member(order)] if "member" in order else self.cluster.members:
            member.isolate(False)
            member.hold = False

    async def _do_hold_replication(self, order):
        """A secondary takes over nothing more until `heal`; without `member` all of them."""
        for member in [self._member(order)] if "member" in order else self.cluster.members:
            member.hold = True

    async def _do_truncate_history(self, order):
        """As if the log had rolled over: after its next start a member answers retries of what is older with 217."""
        self.cluster.history_from = max(len(member.log) for member in self.cluster.members)

    async def _do_lag(self, order):
        self.cluster.settings.lag = order["ms"] / 1000

    async def _do_delay(self, order):
        """Delays commands by `ms`, "before" (default) or "after" they were executed; 0 ends it. Without `commands` all but hello."""
        delays = self._member(order).faults["delay"]
        commands = order.get("commands", [])
        delays[:] = [one for one in delays if one["commands"] != commands]
        if order.get("ms"):
            delays.append({"ms": order["ms"], "when": order.get("when", "before"), "commands": commands})

    async def _do_cut_after(self, order):
        """The connection that sends the member's next `bytes`-th byte is closed there, in the midst of a reply, once."""
        self._member(order).faults["cut"] = {"bytes": order["bytes"], "commands": order.get("commands", [])}

    async def _do_answer_instead(self, order):
        """Executes the next `times` of `commands` and answers `code` as `form`: top, writeErrors, writeConcernError, or close."""
        self._member(order).faults["after"].append(
            {"commands": order["commands"], "times": order.get("times", 1), "code": order.get("code", CODE_DEFAULT),
             "form": order.get("form", "top")})

    async def _do_drop_connections(self, order):
        member = self._member(order)
        for connection in list(member.connections):
            connection.drop(order.get("how", "rst") == "rst")
        for _ in range(3):  # the sockets are closed by the loop, and this answer must not come before that
            await asyncio.sleep(0)

    async def _do_role(self, order):
        """Makes a member "recovering" or "secondary" again."""
        member = self._member(order)
        if member.role == "primary":
            member.step_down()
        member.role = order["role"]
        member.changed()

    async def _do_set(self, order):
        """Changes settings: wire, election, heartbeat, drain, … (seconds)."""
        for name, value in order["settings"].items():
            if not hasattr(self.cluster.settings, name):
                raise CommandError(2, f"no setting {name!r}")
            setattr(self.cluster.settings, name, value)
        for member in self.cluster.members:
            member.changed()

    async def _do_state(self, order):
        def one(member):
            return {"member": member.index, "address": member.address, "kind": member.kind, "running": member.running,
                    "frozen": member.frozen, "isolated": member.isolated, "role": member.role if member.running else "down",
                    "writable": member.running and member.writable, "term": member.term, "log": len(member.log),
                    "committed": member.commit_length, "connections": len(member.connections), "processId": str(member.process_id),
                    "operations": [op.name for op in member.operations], "cursors": len(member.cursors.open),
                    "transactions": sum(1 for session in member.sessions.known.values() if session.transaction),
                    "commands": dict(member.counts), "compressed": dict(member.compressed)}
        primary = self.cluster.primary()
        return {"primary": primary.index if primary and primary.writable else None,
                "members": [one(member) for member in self.cluster.members + self.cluster.routers]}

    async def _do_history(self, order):
        """What was applied, acknowledged, rolled back; `since` an op number, `brief` without the documents. `lost` are entries that
        the primary does not have."""
        primary = self.cluster.primary()
        there = {entry.number for entry in primary.log} if primary else set()
        entries = self.cluster.history.shown(order.get("since", 0), bool(order.get("brief")))
        for entry in entries:
            entry["lost"] = entry["op"] not in there
        return {"totals": self.cluster.history.totals(), "entries": [] if order.get("totals_only") else entries}
