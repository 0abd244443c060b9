"""PyMongo's own tests, with the specifications' cases, on the model replica set and through holdfast: tests/support/suites.yaml says which must
pass, and what holdfast does otherwise."""

import os
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import yaml

from support.holdfast import DIRECT, Holdfast
from support.mongo import TESTS, ModelSet
from support.pymongo_suites import SOURCE, results, skipped

pytestmark = pytest.mark.timeout(600)
LISTS = yaml.safe_load((TESTS / "support" / "suites.yaml").read_text(encoding="utf-8"))
SUITES, DIFFERENCES = LISTS["suites"], LISTS["differences"]


def on_the_model(file, wire, folder):
    with ModelSet("--members", 3, "--wire", wire) as model:
        found = results(file, *model.members[0].split(":"), folder / "direct.xml")
    assert not model.problems, model.problems
    return found


def through_holdfast(file, wire, folder):
    with ModelSet("--members", 3, "--wire", wire) as model:
        # Where a case lets every attempt fail it is told so after five seconds, not thirty.
        proxy = Holdfast(model.uri(), connection={"type": "mongodb", "reconnect": {"hold_timeout": "5s"}})
        try:
            found = results(file, "127.0.0.1", proxy.port, folder / "through.xml", "-p", "support.pymongo_through")
        finally:
            proxy.close()
    assert not model.problems, model.problems
    return found


def without_faults(file, wire, folder):
    with ModelSet("--members", 3, "--wire", wire) as model:
        return results(file, *model.members[0].split(":"), folder / "faultless.xml", "-p", "support.pymongo_through", "-p", "support.pymongo_faultless")


# What differs in each run of a case, and which collections other cases have left.
VARIES = re.compile(r"Timestamp\(.*?\)|ObjectId\(.*?\)|Binary\(.*?, 4\)|'127.0.0.1', \d+|object at 0x\w+|(operation|connection)_id: -?\d+|(?<=listCollection).*")


def left_out(file):
    """Why a file does not run here, or None."""
    if SUITES[file]["runs"] != "always" and os.environ.get("HOLDFAST_SUITES") != "all":
        return f"{file} runs with HOLDFAST_SUITES=all"
    if not (SOURCE / "test" / file).exists():
        reason = skipped()
        assert reason, f"{SOURCE} lacks {file}, and deploy/install-dependencies does not say why"
        return reason
    return None


@pytest.fixture(scope="module")
def runs(request, tmp_path_factory):
    """{file: (its run on the model, its run through holdfast)} of all files asked for, as futures: mostly the cases wait, so four go at a time."""
    files = dict.fromkeys(item.callspec.params["suite"] for item in request.session.items if "suite" in item.fixturenames)
    with ThreadPoolExecutor(4) as pool:
        yield {file: [pool.submit(way, file, SUITES[file].get("wire", 21), tmp_path_factory.mktemp(file))
                      for way in ([on_the_model] if DIRECT else [on_the_model, through_holdfast])]
               for file in files if not left_out(file)}


@pytest.fixture(scope="module", params=SUITES)
def suite(request, runs):
    reason = left_out(request.param)
    if reason:
        pytest.skip(reason)
    ways = runs[request.param]
    return SimpleNamespace(file=request.param, listed=SUITES[request.param], direct=ways[0].result, through=ways[-1].result)


@pytest.mark.fault_free
def test_the_cases_pass_on_the_model(suite):
    outcomes, _, output = suite.direct()
    failed = {name for name, outcome in outcomes.items() if outcome == "failed"}
    listed = set(suite.listed["left_out"] or {})
    assert failed <= listed, output[-8000:]
    assert listed <= failed, f"these pass by now, so take them from the list: {sorted(listed - failed)}"
    counted = Counter(outcomes.values())
    print(f"{suite.file}: {counted['passed']} passed, {len(failed)} left out, {counted['skipped']} skipped by their own conditions")
    assert counted["passed"] == suite.listed["passes"], f"{counted['passed']} cases passed, {suite.listed['passes']} stand in suites.yaml"


def test_what_passes_there_passes_through_holdfast(suite):
    """But for what is listed, and that differs as the list says: by an error that was not there or a command that needed no repetition."""
    direct = suite.direct()[0]
    outcomes, messages, output = suite.through()
    listed = suite.listed["through"]
    differs = {name: difference for difference, names in listed["left_out"].items() for name in names}
    failed = {name for name in messages if direct.get(name) != "failed"}
    assert failed <= set(differs), f"{sorted(failed - set(differs))}\n{output[-8000:]}"
    assert set(differs) <= failed, f"these pass by now, so take them from the list: {sorted(set(differs) - failed)}"
    otherwise = {name: messages[name] for name, difference in differs.items() if not re.match(DIFFERENCES[difference]["shows"], messages[name])}
    assert not otherwise, f"not what the list says: {otherwise}"
    passed = sum(outcome == "passed" for outcome in outcomes.values())
    left = sorted(name for name, outcome in direct.items() if outcome == "passed" and outcomes[name] == "skipped")
    print(f"{suite.file} through holdfast: {passed} passed, {len(failed)} differ as listed, {len(left)} that pass without it skipped: {left}")
    assert (passed, len(left)) == (listed["passes"], listed["skipped"]), f"{passed} passed and {len(left)} skipped: suites.yaml has other numbers"


@pytest.mark.skipif(os.environ.get("HOLDFAST_SUITES") != "all", reason="runs with HOLDFAST_SUITES=all")
def test_a_hidden_fault_is_none_to_the_client(suite, tmp_path):
    """What the client saw through holdfast, beside what it sees straight of servers without that fault: the same to the letter."""
    hidden = {name for difference, names in suite.listed["through"]["left_out"].items() if DIFFERENCES[difference].get("hides")
              for name in names if suite.direct()[0][name] == "passed"}
    if not hidden:
        pytest.skip(f"{suite.file} has no fault that is hidden")
    through, straight = suite.through()[1], without_faults(suite.file, suite.listed.get("wire", 21), tmp_path)[1]
    other = {name: (through[name], straight.get(name)) for name in hidden if name not in straight or
             VARIES.sub("", through[name]) != VARIES.sub("", straight[name])}
    assert not other, other
    print(f"{suite.file}: {len(hidden)} cases with a fault that is hidden are as without it")
