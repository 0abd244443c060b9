"""Runs PyMongo's own tests, of its source distribution, at a server."""

import subprocess
import sys
import xml.etree.ElementTree as xml

from support import processes
from support.installed import why_missing
from support.mongo import TESTS
from support.postgres import CACHE

SOURCE = CACHE / "pymongo"


def skipped():
    """Why the sources are not there, by the installation's words."""
    return why_missing("pymongo_tests")


def results(file, host, port, report, *plugin, seconds=580):
    """(outcomes, messages, output) of one file of PyMongo's tests at a server: {case: "passed", "failed" or "skipped"}, {failed case: why}."""
    run = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin, "-W", "ignore", "--timeout", "60", "--tb=short",
                          f"--junitxml={report}", f"test/{file}"], cwd=SOURCE, capture_output=True, text=True, timeout=seconds, check=False,
                         env=processes.environment(DB_IP=host, DB_PORT=str(port), PYTHONDONTWRITEBYTECODE="1", PYTHONPATH=str(TESTS)))
    assert report.exists(), run.stdout + run.stderr
    outcomes, messages = {}, {}
    for case in xml.parse(report).iter("testcase"):
        name = f"{case.get('classname').rpartition('.')[2]}.{case.get('name')}"
        failures = [*case.iter("failure"), *case.iter("error")]
        outcomes[name] = "failed" if failures else "skipped" if case.find("skipped") is not None else "passed"
        messages.update((name, failure.get("message")) for failure in failures)
    return outcomes, messages, run.stdout
