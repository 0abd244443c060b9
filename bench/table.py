"""Turns the measured cells of all rounds into Markdown tables: medians, and how far the rounds lie apart.

It measures nothing and judges nothing.
"""

import statistics

from cells import WORKLOADS

# What to show: a result's key, the table's heading, how a number is written.
QUANTITIES = (
    ("tps", "Transactions a second", "{:,.0f}"),
    ("latency_ms", "Mean latency, milliseconds", "{:.3f}"),
    ("cpu_us", "Processor time of the proxy, microseconds a transaction", "{:.1f}"),
    ("cpu_share", "Processor time of the proxy, share of one core", "{:.0%}"),
)


def line(words):
    return "| " + " | ".join(words) + " |"


def heading(labels, numbers):
    """A table's first two lines: columns of words, then columns of numbers."""
    return [line([*labels, *numbers]), line(["---"] * len(labels) + ["---:"] * len(numbers))]


def median(results, key):
    """The middle of the rounds, or None where there is none."""
    values = [result[key] for result in results if key in result]
    return statistics.median(values) if values else None


def spread(results, key):
    """How far the rounds lie apart, as a share of their median; None for fewer than two rounds."""
    values = [result[key] for result in results if key in result]
    middle = statistics.median(values) if len(values) > 1 else 0
    return (max(values) - min(values)) / middle if middle else None


def _quantity(key, text, measured, rows, targets):
    """The lines of one table. `measured` is {Cell: results of its rounds}."""
    by_place = {(cell.row, cell.target): results for cell, results in measured.items()}
    having = {target for (_, target), results in by_place.items() if median(results, key) is not None}
    shown = [target for target in targets if target in having]
    if not shown:
        return []
    lines = heading(["workload", "mode", "clients"], shown)
    for row in rows:
        medians = [median(by_place.get((row, target), []), key) for target in shown]
        lines.append(line([*map(str, row), *("—" if value is None else text.format(value) for value in medians)]))
    spreads = [found for results in measured.values() if (found := spread(results, key)) is not None]
    if spreads:
        lines.append(f"\nBetween the rounds of a cell: {statistics.median(spreads):.0%} of its median apart in the middle case, "
                     f"{max(spreads):.0%} at worst.")
    return lines


def markdown(measured, failures, targets):
    """All tables, and the cells that failed. `failures` are (Cell, reason)."""
    rows = list(dict.fromkeys(cell.row for cell in measured))
    names = dict.fromkeys(workload for workload, _, _ in rows)
    parts = ["\n".join(f"- {name}: {WORKLOADS[name]}" for name in names)]
    for key, title, text in QUANTITIES:
        lines = _quantity(key, text, measured, rows, targets)
        if lines:
            parts.append("\n".join([f"### {title}", "", *lines]))
    if failures:
        parts.append("\n".join(["### Failed", "", *(f"- {cell}: {' '.join(reason.split())}" for cell, reason in failures)]))
    return "\n\n".join(parts)
