"""A run's summary as a short text, and what a failed one leaves behind to be understood."""

import collections
import re

from oracles.history import OK


def summary(result):
    """Some lines for a terminal or a README."""
    codes = sum((history.codes for history in result.histories.values()), collections.Counter())
    faults = collections.Counter(name for _, name in result.faults)
    drivers = ", ".join(f"{count} {driver}" for driver, count in result.clients.items())
    counts = {workload: f"{history.count(OK):,} acknowledged" for workload, history in result.histories.items()}
    unknown = f"{codes.pop('08007', 0)} × 08007 ({result.committed_unknown} had committed)"
    errors = [f"{count} × {code}" for code, count in sorted(codes.items())] + [unknown]
    replayed = ", ".join(f"{counts_['succeeded']} {what}" for what, counts_ in result.replayed.items())
    lines = [f"bank and append, {result.seconds:.0f} s, {result.clients.total()} clients ({drivers}), exactly_once: {result.exactly_once},"
             f" seed {result.seed}",
             f"faults        {len(result.faults)}: " + "; ".join(f"{count} × {name}" for name, count in faults.items()),
             "transactions  " + "; ".join(f"{workload} {words}" for workload, words in counts.items()),
             f"run again     {replayed}",
             f"errors        {'; '.join(errors)}"]
    if not result.problems:
        lines.append("verdict       nothing lost, nothing doubled, nothing out of order, no client disconnected")
    return _wrapped(lines)


def failure(result):
    """The problems, and how to have the same schedule again."""
    faults = "\n".join(f"  {at:6.1f} s  {name}" for at, name in result.faults)
    # One of each kind: a client that is stuck in an error has it in every transaction.
    kinds = {}
    for problem in result.problems:
        kinds.setdefault(re.sub(r"\d+", "#", problem)[-60:], []).append(problem)
    problems = "\n".join(f"  {len(alike)} × {alike[0]}" for alike in kinds.values())
    return (f"{len(result.problems)} problems:\n{problems}\nthe schedule of seed {result.seed}:\n{faults}\n"
            f"the same again: tests/oracles/run --seed {result.seed} --seconds {result.seconds:.0f}\n"
            f"holdfast's log, its end:\n{result.log[-6000:]}")


def _wrapped(lines, width=120):
    """Lines broken between words, continued under their text."""
    out = []
    for line in lines:
        while len(line) > width:
            at = line.rfind(" ", 14, width)
            out.append(line[:at])
            line = " " * 14 + line[at + 1:]
        out.append(line)
    return "\n".join(out)
