"""What a process has in memory by the kernel's account: now, once it no longer changes, and at its peak."""

import re
import time


def _status_kib(pid, name):
    """A size of proc(5), /proc/pid/status."""
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as status:
        return int(re.search(rf"^{name}:\s*(\d+) kB", status.read(), re.MULTILINE)[1])


def resident_kib(pid):
    return _status_kib(pid, "VmRSS")


def peak_kib(pid):
    """The most that it has had since `forget_peak`."""
    return _status_kib(pid, "VmHWM")


def forget_peak(pid):
    with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as refs:
        refs.write("5")


def settled_kib(pid, deadline_s=10.0):
    """Resident memory once two looks half a second apart agree, or at the deadline."""
    end, before = time.monotonic() + deadline_s, resident_kib(pid)
    while True:
        time.sleep(0.5)
        now = resident_kib(pid)
        if now == before or time.monotonic() >= end:
            return now
        before = now
