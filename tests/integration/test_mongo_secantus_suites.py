"""PyMongo's own tests on SecantusDB and through holdfast, with HOLDFAST_SUITES=all: what passes there passes with holdfast in front, but for what
tests/support/suites.yaml lists under `secantus`, each by its reason."""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
import yaml

from support.holdfast import Holdfast
from support.mongo import TESTS
from support.pymongo_suites import SOURCE, results, skipped
from support.secantus import Secantus, why_not

SECONDS = 1500  # for one file; bulk writes of a hundred thousand documents take it minutes
pytestmark = [pytest.mark.timeout(SECONDS + 60),
              pytest.mark.skipif(os.environ.get("HOLDFAST_SUITES") != "all", reason="runs with HOLDFAST_SUITES=all")]
LISTS = yaml.safe_load((TESTS / "support" / "suites.yaml").read_text(encoding="utf-8"))
SUITES, DIFFERENCES = LISTS["secantus"], LISTS["differences"]


def straight(file, folder):
    with closing(Secantus("--enable-test-commands")) as server:
        return results(file, "127.0.0.1", server.port, folder / "direct.xml", seconds=SECONDS)


def through_holdfast(file, folder):
    with closing(Secantus("--enable-test-commands")) as server:
        # Where a case lets every attempt fail it is told so after five seconds, not thirty.
        with closing(Holdfast(server.uri, connection={"type": "mongodb", "reconnect": {"hold_timeout": "5s"}})) as proxy:
            return results(file, "127.0.0.1", proxy.port, folder / "through.xml", "-p", "support.pymongo_through", seconds=SECONDS)


@pytest.mark.parametrize("file", SUITES)
def test_what_passes_on_secantusdb_passes_through_holdfast(file, tmp_path):
    for reason in (why_not(), None if (SOURCE / "test" / file).exists() else skipped() or "PyMongo's tests are not there"):
        if reason:
            pytest.skip(reason)
    with ThreadPoolExecutor(2) as pool:
        ways = [pool.submit(way, file, tmp_path) for way in (straight, through_holdfast)]
        direct, (outcomes, messages, output) = ways[0].result()[0], ways[1].result()
    passed = {name for name, outcome in direct.items() if outcome == "passed"}
    differs = {name: difference for difference, names in SUITES[file]["left_out"].items() for name in names}
    failed = {name for name in passed if outcomes.get(name) != "passed"}
    assert failed <= set(differs), f"{ {name: messages.get(name, 'skipped') for name in failed - set(differs)} }\n{output[-8000:]}"
    assert set(differs) <= failed, f"these pass by now, so take them from the list: {sorted(set(differs) - failed)}"
    otherwise = {name: messages.get(name, "skipped") for name, difference in differs.items()
                 if not re.match(DIFFERENCES[difference]["shows"], messages.get(name, ""))}
    assert not otherwise, f"not what the list says: {otherwise}"
    both = len(passed - failed)
    print(f"{file} on SecantusDB: {both} pass with and without holdfast, {len(failed)} differ as listed")
    assert both >= SUITES[file]["both"], f"{both} cases pass, {SUITES[file]['both']} stand in suites.yaml"
