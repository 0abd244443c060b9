"""PyMongo's own tests, with the specifications' cases, on the model replica set: tests/support/suites.yaml says which must pass."""

import os
import subprocess
import sys
import xml.etree.ElementTree as xml

import pytest
import yaml

from support.mongo import TESTS, ModelSet
from support.postgres import CACHE

pytestmark = [pytest.mark.fault_free, pytest.mark.timeout(600)]
SUITES = yaml.safe_load((TESTS / "support" / "suites.yaml").read_text(encoding="utf-8"))["suites"]
SOURCE = CACHE / "pymongo"


def skipped():
    """Why the sources are not there, by the installation's words."""
    missing = CACHE / "missing"
    words = missing.read_text(encoding="utf-8").splitlines() if missing.exists() else []
    return next((line for line in words if line.startswith("pymongo_tests:")), None)


def results(file, model, report):
    """{case: "passed", "failed" or "skipped"} of one file of PyMongo's tests."""
    host, port = model.members[0].split(":")
    run = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", "--timeout", "60", "--tb=short",
                          f"--junitxml={report}", f"test/{file}"], cwd=SOURCE, capture_output=True, text=True, timeout=580, check=False,
                         env={**os.environ, "DB_IP": host, "DB_PORT": port, "PYTHONDONTWRITEBYTECODE": "1"})
    assert report.exists(), run.stdout + run.stderr
    found = {}
    for case in xml.parse(report).iter("testcase"):
        name = f"{case.get('classname').rpartition('.')[2]}.{case.get('name')}"
        failed = case.find("failure") is not None or case.find("error") is not None
        found[name] = "failed" if failed else "skipped" if case.find("skipped") is not None else "passed"
    return found, run.stdout


@pytest.mark.parametrize("file", SUITES)
def test_the_cases_pass_on_the_model(file, tmp_path):
    suite = SUITES[file]
    if suite["runs"] != "always" and os.environ.get("HOLDFAST_SUITES") != "all":
        pytest.skip(f"{file} runs with HOLDFAST_SUITES=all")
    if not (SOURCE / "test" / file).exists():
        reason = skipped()
        assert reason, f"{SOURCE} lacks {file}, and deploy/install-dependencies does not say why"
        pytest.skip(reason)
    with ModelSet("--members", 3, "--wire", suite.get("wire", 21)) as model:
        found, output = results(file, model, tmp_path / "report.xml")
    assert not model.problems, model.problems
    failed = {name for name, outcome in found.items() if outcome == "failed"}
    listed = set(suite["left_out"] or {})
    assert failed <= listed, output[-8000:]
    assert listed <= failed, f"these pass by now, so take them from the list: {sorted(listed - failed)}"
    passed = sum(outcome == "passed" for outcome in found.values())
    print(f"{file}: {passed} passed, {len(failed)} left out, {len(found) - passed - len(failed)} skipped by their own conditions")
    assert passed == suite["passes"], f"{passed} cases passed, {suite['passes']} stand in suites.yaml"
