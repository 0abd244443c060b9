"""bench/mongo runs from end to end: its tables have a number for every target, and none of its cells fails."""

import re
import subprocess
import sys

from support.holdfast import BINARY, ROOT


def test_a_short_run_fills_its_tables():
    run = subprocess.run([sys.executable, ROOT / "bench" / "mongo", "--parts", "small", "--only", "direct,holdfast", "--clients", "2", "--rounds", "1",
                          "--seconds", "0.3", "--holdfast", BINARY, "--build", BINARY.parent], capture_output=True, text=True, check=False, timeout=150)
    assert run.returncode == 0, run.stderr
    titles = re.findall(r"^### (.*)$", run.stdout, re.MULTILINE)
    assert [title.split(",")[0] for title in titles] == ["Median latency", "99th percentile of latency", "Operations a second",
                                                        "Processor time of the proxy"]
    rows = re.findall(r"^\| (ping|mix) \|.*\| 2 \| ([\d,.]+) \|", run.stdout, re.MULTILINE)
    assert len(rows) == 2 * len(titles) and all(float(number.replace(",", "")) > 0 for _, number in rows), run.stdout
