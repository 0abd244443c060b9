"""The oracles: their checkers find what they look for, and a while of every fault gives them nothing to be found.

`tests/oracles/run --seconds 600` is the long run; `--seed N` on the command line here or there has the same schedule again.
"""

import random

import pytest

from oracles import append_check, bank, campaign, report
from oracles.history import FAILED, LEVELS, OK, UNKNOWN, History, Transaction
from oracles.remote import Refused
from support.holdfast import run_binary
from support.installed import why_missing

RC, RR, SERIALIZABLE = LEVELS


def transaction(number, *ops, outcome=OK, level=SERIALIZABLE, started=None, ended=None):
    """Transaction `number` begins and ends at `number` seconds unless said otherwise; reads are ("read", key, elements)."""
    started = number if started is None else started
    ops = [op + (started,) if op[0] == "read" else op for op in ops]
    return Transaction(number, "one", "test", level, started, number + 0.5 if ended is None else ended, outcome, ops)


def append(key, element):
    return "append", key, element


def read(key, *elements):
    return "read", key, elements


SOUND = [transaction(1, append(1, 10)), transaction(2, read(1, 10), append(1, 11), read(1, 10, 11)),
         transaction(3, append(1, 12), outcome=FAILED), transaction(4, append(1, 13), outcome=UNKNOWN),
         transaction(5, append(2, 14), read(1, 10, 11, 13), outcome=UNKNOWN), transaction(6, read(1, 10, 11, 13), append(2, 15))]
SOUND_LISTS = {1: [10, 11, 13], 2: [15]}

# What is done to the sound history, and a word of what must be found then.
ANOMALIES = {
    "an acknowledged element is lost": ([transaction(1, append(1, 10))], {1: []}, "is lost"),
    "an element is doubled": ([transaction(1, append(1, 10))], {1: [10, 10]}, "doubled"),
    "an element comes from nowhere": ([transaction(1, append(1, 10))], {1: [10, 99]}, "from nowhere"),
    "an element is in another list": ([transaction(1, append(1, 10), append(2, 11))], {1: [10, 11]}, "from nowhere"),
    "a failed one is there": ([transaction(1, append(1, 10), outcome=FAILED)], {1: [10]}, "failed, and there is"),
    "an unknown one happened in part": ([transaction(1, append(1, 10), append(2, 11), outcome=UNKNOWN)], {1: [10]}, "in part"),
    "its own appends stand in another order": ([transaction(1, append(1, 10), append(1, 11))], {1: [11, 10]}, "another order"),
    "what was undone was read": ([transaction(1, append(1, 10), outcome=FAILED), transaction(2, read(1, 10))], {}, "is not there"),
    "what nobody wrote was read": ([transaction(2, read(1, 99))], {}, "from nowhere"),
    "two orders were read": ([transaction(1, append(1, 10), ended=9), transaction(2, append(1, 11), ended=9),
                              transaction(3, read(1, 11, 10))], {1: [10, 11]}, "another order"),
    "a read is too old": ([transaction(1, append(1, 10)), transaction(2, read(1))], {1: [10]}, "without what was acknowledged"),
    "an own append is not seen": ([transaction(1, append(1, 10), read(1))], {1: [10]}, "its own"),
    "each has read what the other wrote": (
        [transaction(1, append(1, 10), read(2, 11), ended=9), transaction(2, append(2, 11), read(1, 10), ended=9)],
        {1: [10], 2: [11]}, "a circle of writes and reads"),
    "neither has read what the other wrote": (
        [transaction(1, append(1, 10), read(2), ended=9), transaction(2, append(2, 11), read(1), ended=9)],
        {1: [10], 2: [11]}, "a circle among serializable"),
}


@pytest.mark.fault_free
def test_a_sound_history_of_appends_passes():
    assert not append_check.check(SOUND, SOUND_LISTS)


@pytest.mark.fault_free
@pytest.mark.parametrize("what", ANOMALIES)
def test_an_anomaly_of_appends_is_found(what):
    history, lists, words = ANOMALIES[what]
    found = append_check.check(history, lists)
    assert any(words in problem for problem in found), found


@pytest.mark.fault_free
def test_write_skew_below_serializable_is_no_anomaly():
    history, lists, _ = ANOMALIES["neither has read what the other wrote"]
    for one in history:
        one.level = RR
    assert not append_check.check(history, lists)
    for one in history:
        one.level = SERIALIZABLE


@pytest.mark.fault_free
def test_a_circle_that_leads_through_a_write_below_serializable_is_no_anomaly():
    """The server does not see that a serializable transaction has read what one of another level overwrote."""
    history = [transaction(1, append(1, 10), read(2), ended=9), transaction(2, append(2, 11), read(1), ended=9),
               transaction(3, append(1, 12), append(2, 13), level=RC, ended=9)]
    assert not append_check.check(history, {1: [12, 10], 2: [13, 11]})


def transfer(number, outcome=OK, receipt=None):
    ops = [("transfer", 1, 2, 5)] + ([("receipt", receipt)] if receipt else [])
    return Transaction(number, "one", "test", RC, 0.0, 1.0, outcome, ops)


def accounts(transfers):
    """The balances that so many transfers leave."""
    return {**{account: bank.START for account in range(1, bank.ACCOUNTS + 1)}, 1: bank.START - 5 * transfers,
            2: bank.START + 5 * transfers}


BANKS = {
    "a sound one": ([transfer(1), transfer(2, UNKNOWN), transfer(3, FAILED), transfer(4, UNKNOWN), transfer(5, OK, 77)],
                    accounts(3), [(1, 1, 2, 5, 1), (2, 1, 2, 5, 2), (5, 1, 2, 5, 77)], None),
    "a transfer is lost": ([transfer(1)], accounts(0), [], "lost"),
    "a transfer is doubled": ([transfer(1)], accounts(2), [(1, 1, 2, 5, 1), (1, 1, 2, 5, 2)], "doubled"),
    "an unknown one is doubled": ([transfer(1, UNKNOWN)], accounts(2), [(1, 1, 2, 5, 1), (1, 1, 2, 5, 2)], "doubled"),
    "a failed one is there": ([transfer(1, FAILED)], accounts(1), [(1, 1, 2, 5, 1)], "although it failed"),
    "one comes from nowhere": ([], accounts(1), [(1, 1, 2, 5, 1)], "nobody made it"),
    "half of one is there": ([transfer(1)], {**accounts(1), 2: bank.START}, [(1, 1, 2, 5, 1)], "the sum is"),
    "money moved without a transfer": ([], accounts(1), [], "account 1 holds"),
    "the receipt is another": ([transfer(1, OK, 7)], accounts(1), [(1, 1, 2, 5, 8)], "the receipt 7"),
    "a wrong sum was read": ([Transaction(1, "one", "sum", RC, 0.0, 1.0, OK, [("sum", 7)])], accounts(0), [], "a sum of 7"),
}


@pytest.mark.fault_free
@pytest.mark.parametrize("what", BANKS)
def test_the_banks_check(what):
    history, balances, transfers, words = BANKS[what]
    found = bank.check(history, balances, transfers)
    assert any(words in problem for problem in found) if words else not found, found


# (code, closed, moment, exactly_once) → whether the table allows it.
ERRORS = [("40001", False, "statement", False, True), ("08007", False, "commit", False, True), ("08007", False, "write", False, True),
          ("08007", False, "statement", False, False), ("08007", False, "read", False, False), ("08007", False, "commit", True, False),
          ("40001", False, "commit", True, True), ("57P01", False, "read", False, False), ("40001", True, "commit", False, False),
          ("57P03", False, "write", False, False), ("none", True, "read", False, False)]


@pytest.mark.fault_free
@pytest.mark.parametrize("code, closed, moment, exactly_once, allowed", ERRORS)
def test_an_error_that_the_table_does_not_allow_is_a_breach(code, closed, moment, exactly_once, allowed):
    history = History()
    history.refuse(history.begin("one", "test"), Refused(code, closed, "words"), moment, exactly_once)
    assert bool(history.breaches) != allowed


def run(request, seconds, exactly_once="off", with_faults=True):
    """A run with the seed of the command line, or with a new one, which is told where it fails."""
    for driver in ("jdbc", "remote_jdbc", "remote_pgx"):
        if why_missing(driver):
            pytest.skip(why_missing(driver))
    seed = request.config.getoption("--seed") or random.randrange(1, 1 << 31)
    try:
        result = campaign.run(seconds, seed, exactly_once, with_faults=with_faults, say=print)
    except Exception as problem:
        raise AssertionError(f"seed {seed}: {problem}") from problem
    print(report.summary(result))
    assert not result.problems, report.failure(result)
    return result


@pytest.mark.timeout(120)
@pytest.mark.fault_free
def test_sixteen_clients_of_three_drivers_agree_without_a_fault(request):
    result = run(request, 3, with_faults=False)
    assert all(history.count(OK) > 50 and not history.count(UNKNOWN) for history in result.histories.values())


@pytest.mark.timeout(400)
@pytest.mark.parametrize("exactly_once", ("off", "on"))
def test_faults_of_every_kind_lose_nothing_double_nothing_and_disconnect_nobody(request, exactly_once):
    if exactly_once == "on" and run_binary("ledger").returncode != 0:
        pytest.skip("this version has no ledger")
    result = run(request, request.config.getoption("--oracle-seconds"), exactly_once)
    assert len(result.faults) >= 5, "the machine is too slow for this to show anything"
    assert result.replayed["transactions"]["succeeded"] > 0
