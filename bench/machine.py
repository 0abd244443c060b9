"""Describes the machine and the programs that a benchmark ran with, so that a table can be read without knowing where it was made."""

import datetime
import os
import platform
import re
import subprocess

from stage import BINARIES, Missing, environment, program


def _first_line(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment(), check=False)
    return (done.stdout or done.stderr).partition("\n")[0].strip()


def _found(path, pattern, otherwise="unknown"):
    with open(path, encoding="utf-8", errors="replace") as file:
        match = re.search(pattern, file.read(), re.MULTILINE)
    return match[1].strip() if match else otherwise


def _version(name, holdfast):
    if name == "direct":
        return _first_line(BINARIES / "postgres", "--version")
    if name == "holdfast":
        return _first_line(holdfast, "--version")
    try:
        return _first_line(program(name), "-v" if name == "haproxy" else "--version")
    except Missing:
        return "not installed"


def describe(targets, holdfast):
    """What to print above a table: a dictionary of short texts, with the version of each target's program; `direct` is PostgreSQL."""
    memory_kib = int(_found("/proc/meminfo", r"^MemTotal:\s*(\d+)", "0"))
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": _found("/proc/cpuinfo", r"^model name\s*:\s*(.*)$"),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory_kib / 1048576:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "versions": ", ".join(_version(name, holdfast) for name in dict.fromkeys(targets)),
        "load before": f"{os.getloadavg()[0]:.2f}",
    }


def markdown(machine, timed=True):
    """The description as a list. Where time was measured, with a warning if the machine had other work."""
    lines = [f"- {name}: {text}" for name, text in machine.items()]
    if timed and float(machine["load before"]) > 0.3:
        lines.append("- **the machine had other work when this began: these numbers are not to be quoted**")
    return "\n".join(lines)
