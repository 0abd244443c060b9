"""One run: clients at work through holdfast, a schedule of faults beside them, and the verdict over their histories."""

import collections
import dataclasses
import random
import threading
import time

from oracles import append_check, appends, bank
from oracles.faults import FAULTS, schedule
from oracles.history import UNKNOWN, History
from oracles.programs import Ended
from oracles.remote import Remote, Silent
from oracles.stage import Stage, rest
from support.waiting import wait_for

# Which driver has how many of sixteen clients.
MIX = ("psycopg", "pgjdbc", "pgx") * 5 + ("psycopg",)


class Client(threading.Thread):
    """One driver's connection and what it does until `over`: bank and appends by turns."""

    def __init__(self, number, driver, stage, histories, keys, over, seed, exactly_once):
        super().__init__(name=f"{driver}-{number}", daemon=True)
        self.remote, self.over = Remote(driver, stage.proxy.port), over
        self.histories = histories
        context = [self.name, self.remote, None, random.Random(f"{seed} {number}"), exactly_once]
        context[2] = histories["bank"]
        self.workloads = [bank.Bank(*context)]
        context[2] = histories["append"]
        self.workloads.append(appends.Appends(keys, *context))
        self.done = 0
        self.problem = None

    def run(self):
        try:
            self.remote.run(f"SET oracle.client = '{self.name}'")
            while not self.over.is_set():
                for workload in self.workloads:
                    workload.step()
                self.done += 1
            setting = self.remote.run("SELECT current_setting('oracle.client', true)")
            if setting != [(self.name,)]:
                self.problem = f"{self.name} lost its setting: {setting}"
            self.remote.close()
        except Ended as problem:
            self.problem = str(problem)
        except Silent as problem:
            self.problem = f"{self.name}: {problem}"
        except Exception as problem:  # pylint: disable=broad-except
            self.problem = f"{self.name}: {problem!r}"


@dataclasses.dataclass
class Result:
    """What a run showed. `problems` is empty where all was well."""

    seed: int
    exactly_once: str
    seconds: float
    clients: collections.Counter
    faults: list  # (seconds from the beginning, name)
    histories: dict
    problems: list
    committed_unknown: int  # transactions of unknown outcome that are there
    replayed: dict
    log: str = ""


def run(seconds, seed, exactly_once="off", clients=MIX, with_faults=True, say=lambda words: None):
    """Runs the whole; called from the main thread, for the servers must belong to it."""
    stage = Stage(bank.TABLES + appends.TABLES, exactly_once)
    try:
        return _run(stage, seconds, seed, exactly_once, clients, with_faults, say)
    finally:
        stage.close()


def _run(stage, seconds, seed, exactly_once, clients, with_faults, say):
    histories, keys, over = {"bank": History(), "append": History()}, appends.Keys(), threading.Event()
    workers = [Client(number, driver, stage, histories, keys, over, seed, exactly_once == "on")
               for number, driver in enumerate(clients)]
    problems, inflicted, started = [], [], time.monotonic()
    try:
        for worker in workers:
            worker.start()
        _wait_for_work(workers, "everybody has begun")
        if with_faults:
            inflicted = _harm(stage, workers, random.Random(seed), started + seconds, say)
        else:
            rest(seconds)
        _wait_for_work(workers, "work goes on after the last fault")
    except Exception as problem:  # pylint: disable=broad-except
        problems.append(f"the run itself: {problem}")
    over.set()
    for worker in workers:
        worker.join(worker.remote.deadline + 10)
        if worker.problem or worker.is_alive():
            problems.append(worker.problem or f"{worker.name} hangs")
            worker.remote.kill()
    took = time.monotonic() - started
    try:
        unknown = _judge(stage, histories, problems)
    except Exception as problem:  # pylint: disable=broad-except
        if not problems:
            raise
        unknown = 0  # what is known already comes first
        problems.append(f"the tables could not be read: {problem}")
    metric = stage.proxy.metric
    replayed = {what: {result: int(metric(f"holdfast_{what}_replayed_total", result=result)) for result in ("succeeded", "failed")}
                for what in ("statements", "transactions")}
    return Result(seed, exactly_once, took, collections.Counter(clients), inflicted, histories, problems, unknown, replayed,
                  stage.proxy.log())


def _wait_for_work(workers, what):
    """Until every client has done something more."""
    before = [worker.done for worker in workers]

    def further():
        ended = [worker.problem for worker in workers if worker.problem]
        return ended or all(worker.done > done for worker, done in zip(workers, before))
    wait_for(further, 100.0, what)


def _harm(stage, workers, chance, end, say):
    """Inflicts one fault after the other until `end`; what was done, and when."""
    began, done = time.monotonic(), []
    for name in schedule(chance):
        if time.monotonic() >= end or any(worker.problem for worker in workers):
            return done
        done.append((time.monotonic() - began, name))
        say(f"{done[-1][0]:6.1f} s  {name}")
        FAULTS[name][1](stage, chance)
        _wait_for_work(workers, f"work goes on after: {name}")
        rest(chance.uniform(0, 0.7))
    return done


def _judge(stage, histories, problems):
    """Adds what is wrong; how many transactions of unknown outcome had committed."""
    ask = stage.server.query
    stage.server.wait_until_accepting()
    lists = dict(ask("SELECT key, elements FROM lists"))
    transfers = ask("SELECT id, payer, payee, amount, receipt FROM transfers")
    for workload, history in histories.items():
        problems += [f"{workload}, against the table: {words}" for words in history.breaches]
    problems += [f"bank: {words}" for words in
                 bank.check(histories["bank"].transactions, dict(ask("SELECT id, balance FROM accounts")), transfers)]
    problems += [f"append: {words}" for words in append_check.check(histories["append"].transactions, lists)]
    disconnected = stage.proxy.disconnections()
    if disconnected:
        problems.append(f"{disconnected:.0f} clients were disconnected")
    there = {row[0] for row in transfers}
    elements = {element for each in lists.values() for element in each}
    unknown = [one for history in histories.values() for one in history.transactions if one.outcome == UNKNOWN]
    return sum(one.number in there if one.ops[0][0] == "transfer" else
               any(op[0] == "append" and op[2] in elements for op in one.ops) for one in unknown if one.ops)
