"""The bank: transfers of known ids between accounts, whose sum must never change. How clients move money, and the check of it."""

import collections

from oracles.history import FAILED, LEVELS, OK, UNKNOWN
from oracles.programs import Programs
from oracles.remote import PIPELINES, Refused

ACCOUNTS, START = 48, 1000
TOTAL = ACCOUNTS * START

# No unique key: a transfer that happened twice shall be seen, not refused. A receipt is a number that the server makes up.
TABLES = f"""
CREATE TABLE accounts (id int PRIMARY KEY, balance bigint NOT NULL);
INSERT INTO accounts SELECT id, {START} FROM generate_series(1, {ACCOUNTS}) AS id;
CREATE TABLE transfers (id bigint NOT NULL, payer int NOT NULL, payee int NOT NULL, amount bigint NOT NULL, receipt bigserial);
GRANT ALL ON accounts, transfers, transfers_receipt_seq TO PUBLIC;
"""

BALANCE = "SELECT balance FROM accounts WHERE id = $1::int8 FOR UPDATE"
SET = "UPDATE accounts SET balance = $1::int8 WHERE id = $2::int8"
ADD = "UPDATE accounts SET balance = balance + $1::int8 WHERE id = $2::int8"
NOTE = "INSERT INTO transfers (id, payer, payee, amount) VALUES ($1::int8, $2::int8, $3::int8, $4::int8)"
AT_ONCE = ("WITH moved AS (UPDATE accounts SET balance = balance + CASE WHEN id = $1::int8 THEN -$2::int8 ELSE $3::int8 END"
           " WHERE id IN ($4::int8, $5::int8))"
           " INSERT INTO transfers (id, payer, payee, amount) VALUES ($6::int8, $7::int8, $8::int8, $9::int8)")
SUM = "SELECT sum(balance)::int8 FROM accounts"


class Bank(Programs):
    """One client's transfers and sums."""

    def __init__(self, *context):
        super().__init__(*context)
        self.programs = [self.transfer] * 4 + [self.transfer_with_savepoint, self.transfer_at_once, self.transfer_in_a_text,
                                               self.transfer_with_receipt, self.sum, self.two_sums]
        if self.exactly_once and self.remote.driver != "pgjdbc":
            # Several statements in one text are never recorded in the ledger (pgjdbc sends them as a pipeline).
            self.programs.remove(self.transfer_in_a_text)
        if self.remote.driver in PIPELINES:
            self.programs.append(self.transfer_in_a_pipeline)

    def _new(self, program, level="read committed"):
        transfer = self.history.begin(self.client, program, level)
        payer, payee = self.random.sample(range(1, ACCOUNTS + 1), 2)
        transfer.ops.append(("transfer", payer, payee, self.random.randint(1, 50)))
        return transfer, payer, payee, transfer.ops[0][3]

    def _move(self, payer, payee, amount):
        """Reads both balances, computes here, and writes what came out: a second run with other balances would be seen."""
        run, read = self.remote.run, {}
        for account in sorted((payer, payee)):
            read[account] = int(run(BALANCE, account)[0][0])
        run(SET, read[payer] - amount, payer)
        run(SET, read[payee] + amount, payee)

    def transfer(self):
        transfer, payer, payee, amount = self._new("transfer", self.random.choice(LEVELS))

        def body():
            self._move(payer, payee, amount)
            self.remote.run(NOTE, transfer.number, payer, payee, amount)
        self.in_block(transfer, body)

    def transfer_with_savepoint(self):
        transfer, payer, payee, amount = self._new("transfer with a savepoint")

        def body():
            self.remote.run("SAVEPOINT before")
            self.remote.run(NOTE, -transfer.number, payer, payee, amount)  # must never be there
            try:
                self.remote.run("SELECT 1 / $1::int8", 0)
                self.history.breach("a division by zero gave no error")
            except Refused as error:
                if error.code != "22012":
                    raise
            self.remote.run("ROLLBACK TO SAVEPOINT before")
            self._move(payer, payee, amount)
            self.remote.run(NOTE, transfer.number, payer, payee, amount)
        self.in_block(transfer, body)

    def transfer_with_receipt(self):
        transfer, payer, payee, amount = self._new("transfer with a receipt")

        def body():
            receipt = self.remote.run(NOTE + " RETURNING receipt", transfer.number, payer, payee, amount)[0][0]
            transfer.ops.append(("receipt", int(receipt)))
            self._move(payer, payee, amount)
        self.in_block(transfer, body)

    def transfer_at_once(self):
        transfer, payer, payee, amount = self._new("transfer in one statement")
        self.alone(transfer, "write", lambda: self.remote.run(AT_ONCE, payer, amount, amount, payer, payee,
                                                               transfer.number, payer, payee, amount))

    def transfer_in_a_text(self):
        transfer, payer, payee, amount = self._new("transfer in one text")
        moves = sorted(((payer, -amount), (payee, amount)))
        texts = [f"UPDATE accounts SET balance = balance + {change} WHERE id = {account}" for account, change in moves]
        texts.append(f"INSERT INTO transfers (id, payer, payee, amount) VALUES ({transfer.number}, {payer}, {payee}, {amount})")
        self.alone(transfer, "write", lambda: self.remote.text("; ".join(texts)))

    def transfer_in_a_pipeline(self):
        transfer, payer, payee, amount = self._new("transfer in one pipeline")
        moves = sorted(((payer, -amount), (payee, amount)))
        self.alone(transfer, "write", lambda: self.remote.batch(
            *((ADD, change, account) for account, change in moves), (NOTE, transfer.number, payer, payee, amount)))

    def sum(self):
        reading = self.history.begin(self.client, "sum")
        rows = self.alone(reading, "read", lambda: self.remote.run(SUM))
        if rows:
            reading.ops.append(("sum", int(rows[0][0])))

    def two_sums(self):
        """One snapshot for both."""
        reading = self.history.begin(self.client, "two sums", self.random.choice(LEVELS[1:]))

        def body():
            reading.ops.append(("sum", int(self.remote.run(SUM)[0][0])))
            balances = self.remote.run("SELECT balance FROM accounts ORDER BY id")
            reading.ops.append(("sum", sum(int(balance) for balance, in balances)))
        self.in_block(reading, body)


def check(transactions, balances, transfers):
    """What is wrong, as sentences, given the tables' rows at the end: {account: balance} and (id, payer, payee, amount, receipt)."""
    problems = []
    expected = collections.Counter({account: START for account in range(1, ACCOUNTS + 1)})
    for _, payer, payee, amount, _ in transfers:
        expected[payer] -= amount
        expected[payee] += amount
    if sum(balances.values()) != TOTAL:
        problems.append(f"the sum is {sum(balances.values())}, not {TOTAL}")
    problems += [f"account {account} holds {balances.get(account)}, its transfers make {wanted}"
                 for account, wanted in sorted(expected.items()) if balances.get(account) != wanted]
    there = collections.defaultdict(list)
    for row in transfers:
        there[row[0]].append(row)
    for one in transactions:
        problems += [f"{name(one)} read a sum of {op[1]}" for op in one.ops if op[0] == "sum" and op[1] != TOTAL]
        if one.ops and one.ops[0][0] == "transfer":
            problems += _check_transfer(one, there.pop(one.number, []))
    problems += [f"transfer {number} is there {len(rows)} times, and nobody made it" for number, rows in sorted(there.items())]
    return problems


def _check_transfer(one, rows):
    least, most = {OK: (1, 1), FAILED: (0, 0), UNKNOWN: (0, 1)}[one.outcome]
    if not least <= len(rows) <= most:
        word = "lost" if not rows else "doubled" if len(rows) > 1 else "there although it failed"
        return [f"{name(one)} is {word}: {one.outcome}, {len(rows)} times in the table"]
    problems = []
    for row in rows:
        if row[1:4] != one.ops[0][1:]:
            problems.append(f"{name(one)} is there as {row}")
        receipts = [op[1] for op in one.ops if op[0] == "receipt"]
        if receipts and row[4] != receipts[0]:
            problems.append(f"{name(one)} was given the receipt {receipts[0]} and has {row[4]}")
    return problems


def name(one):
    return f"{one.program} {one.number} ({one.client}, {one.level})"
