"""Measures one cell of the table: one pgbench run through one target, with the processor time that the proxy took for it.

It starts no server and sums up nothing over rounds.
"""

import dataclasses
import os
import re
import subprocess
import threading

from stage import BINARIES, DATABASE, LISTEN, USER, environment

WORKLOADS = {"select-only": "pgbench -S: one SELECT a transaction", "tpcb-like": "pgbench's TPC-B: seven statements a transaction"}
MODES = ("simple", "extended", "prepared")
# Before and after what is counted: logins and first statements fall into the one, leaving into the other.
WARM_UP_S = COOL_DOWN_S = 1
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PROGRESS = re.compile(r"progress: ([\d.]+) s, ([\d.]+) tps, lat ([\d.]+) ms")


@dataclasses.dataclass(frozen=True)
class Cell:
    """What is measured: a row of the table, and the target whose column it is."""

    workload: str
    mode: str
    clients: int
    target: str

    @property
    def row(self):
        return self.workload, self.mode, self.clients

    def __str__(self):
        return f"{self.workload} {self.mode} {self.clients} {self.target}"


class Failed(Exception):
    """pgbench did not come to its end; the text is what it said."""


def processor_time_s(pid):
    """User and system time of a process with all its threads (proc(5), /proc/pid/stat, utime and stime)."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
        after_name = stat.read().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / TICKS_PER_S


def command(cell, port, seconds):
    """The pgbench command of a cell. It does not vacuum: `measure`'s caller does so past the proxy."""
    threads = min(cell.clients, len(os.sched_getaffinity(0)))
    return [str(BINARIES / "pgbench"), "-h", LISTEN, "-p", str(port), "-U", USER, "-n", "-b", cell.workload, "-M", cell.mode,
            "-c", str(cell.clients), "-j", str(threads), "-T", str(seconds), "-P", "1", "--progress-timestamp", DATABASE]


def summarize(samples):
    """From (seconds, tps, latency in ms, processor time in s) at each line of progress: the result, without what came before the first."""
    transactions = latency_sum = 0.0
    for before, sample in zip(samples, samples[1:]):
        done = sample[1] * (sample[0] - before[0])
        transactions += done
        latency_sum += done * sample[2]
    if transactions == 0:
        raise Failed("no transaction ended after the warm-up")
    first, last = samples[0], samples[-1]
    result = {"tps": transactions / (last[0] - first[0]), "latency_ms": latency_sum / transactions}
    if last[3] is not None:
        result["cpu_us"] = (last[3] - first[3]) / transactions * 1e6
        result["cpu_share"] = (last[3] - first[3]) / (last[0] - first[0])
    return result


def measure(cell, port, pid, seconds):
    """Runs a cell for `seconds` between warm-up and cool-down: a dictionary of tps, latency_ms, and with a proxy cpu_us and cpu_share."""
    samples, said = [], []
    with subprocess.Popen(command(cell, port, WARM_UP_S + seconds + COOL_DOWN_S), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True, env=environment()) as pgbench:
        watchdog = threading.Timer(seconds + 60, pgbench.kill)
        watchdog.start()
        try:
            for line in pgbench.stderr:
                match = PROGRESS.match(line)
                if match and len(samples) <= seconds:
                    samples.append((*map(float, match.groups()), processor_time_s(pid) if pid else None))
                elif not match:
                    said.append(line)
            code = pgbench.wait()
        finally:
            watchdog.cancel()
            pgbench.kill()
    if code != 0:
        raise Failed(f"pgbench ended with {code}: {''.join(said)[-1500:]}")
    if len(samples) < 2:
        raise Failed(f"pgbench told of its progress {len(samples)} times")
    return summarize(samples)
