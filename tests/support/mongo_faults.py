"""What befalls a replica set while clients work: each kind of loss in turn, in an order that a seed decides, and its cure."""

import random
import time


class Faults:
    """`run` strikes the primary again and again until the time is over, and leaves a whole set behind."""

    KINDS = {
        "kill": ({"order": "kill", "how": "rst"}, "start"),
        "kill with FIN": ({"order": "kill", "how": "fin"}, "start"),
        "stop": ({"order": "stop"}, "start"),
        "stepdown": ({"order": "step_down", "seconds": 1.0}, None),
        "partition": ({"order": "partition"}, "heal"),
        "partition, clients too": ({"order": "partition", "clients": True}, "heal"),
        "freeze": ({"order": "freeze"}, "thaw"),
        "cut connections": ({"order": "drop_connections"}, None),
        "cut in a reply": ({"order": "cut_after", "bytes": 900}, None),
    }

    SLEEPER = "a sleeper wakes as its successor dies"

    def __init__(self, model, seed):
        self.model = model
        self.random = random.Random(seed)
        self.struck = []

    def run(self, seconds, oracle):
        end = time.monotonic() + seconds
        kinds = []
        while time.monotonic() < end:
            kinds = kinds or self.random.sample([*self.KINDS, self.SLEEPER], len(self.KINDS) + 1)
            self.strike(kinds.pop(), oracle)

    def strike(self, kind, oracle):
        """One loss: the clients must be served during it, and all of them after it."""
        self.struck.append(kind)
        if kind == self.SLEEPER:
            self._sleeper(oracle)
        else:
            order, cure = self.KINDS[kind]
            member = self.model.primary()
            self._until_served(oracle, lambda: self.model.do(**order, member=member))
            if cure:
                self.model.do(cure, member=member)
        self.model.wait_for(self.model.whole, 20.0, f"a whole set after {self.struck}")
        moment = time.monotonic()
        try:
            self.model.wait_for(lambda: not oracle.unanswered_since(moment), 30.0, "an answer to each client")
        except AssertionError as error:
            lines = [f"{error} after {self.struck}", *oracle.unanswered_since(moment), *map(str, self.model.state()["members"])]
            raise AssertionError("\n".join(lines)) from None

    def _until_served(self, oracle, loss):
        before = oracle.acknowledged()
        loss()
        self.model.wait_for(lambda: oracle.acknowledged() > before + 30, 30.0, f"writes during {self.struck}")

    def _sleeper(self, oracle):
        """The old primary wakes, takes itself for one still, and is for a while the only one who does."""
        sleeper = self.model.primary()
        self._until_served(oracle, lambda: self.model.do("freeze", member=sleeper))
        successor = self.model.primary()

        def swap():
            self.model.do("thaw", member=sleeper, silent=1.0)
            self.model.do("kill", member=successor)

        self._until_served(oracle, swap)
        self.model.do("start", member=successor)
