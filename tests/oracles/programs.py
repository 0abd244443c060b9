"""What every workload's client does: one transaction after the other on its driver, each noted in the common history."""

from oracles.history import OK
from oracles.remote import Refused


class Ended(Exception):
    """The client cannot go on: its connection is closed, or stuck."""


class Programs:
    """One client: `programs` are its transactions, of which `step` does one. `random` is its own."""

    def __init__(self, client, remote, history, random, exactly_once):
        self.client, self.remote, self.history, self.random, self.exactly_once = client, remote, history, random, exactly_once
        self.programs = []

    def step(self):
        self.random.choice(self.programs)()

    def in_block(self, transaction, body):
        """BEGIN, body, COMMIT; what the driver refuses is noted, and the block rolled back."""
        moment = "statement"
        try:
            self.remote.begin(transaction.level)
            body()
            moment = "commit"
            self.remote.commit()
            self.history.end(transaction, OK)
        except Refused as error:
            self._refused(transaction, error, moment)
            self.roll_back(transaction)

    def roll_back(self, transaction):
        try:
            self.remote.rollback()
        except Refused as error:
            # Whether its driver takes the transaction for over is not known: what it would do now would show nothing.
            raise Ended(f"{self.client}, {transaction.program}: ROLLBACK was refused: {error}") from error

    def alone(self, transaction, moment, statement):
        """A statement outside a block; what it gave, or None."""
        try:
            rows = statement()
            self.history.end(transaction, OK)
            return rows
        except Refused as error:
            self._refused(transaction, error, moment)
            return None

    def _refused(self, transaction, error, moment):
        self.history.refuse(transaction, error, moment, self.exactly_once)
        if error.closed:
            raise Ended(f"{self.client} was disconnected in {transaction.program}, {moment}: {error}")
