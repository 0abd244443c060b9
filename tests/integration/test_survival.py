"""The table of bench/survival in docs/transparency.md: what it says of holdfast still holds, row by row."""

import re
import sys

import pytest

from support.holdfast import DIRECT, ROOT

sys.path.append(str(ROOT / "bench"))

from survival_rows import ROWS  # noqa: E402
from survival_stage import TARGETS, Stage, committed  # noqa: E402

TEXT = (ROOT / "docs" / "transparency.md").read_text()


@pytest.fixture(scope="module")
def stage():
    with Stage("direct" if DIRECT else "holdfast") as stage:
        yield stage


@pytest.mark.parametrize("row", ROWS, ids=[f"row {row[0]}, {row[1]}" for row in ROWS])
def test_what_the_table_says_still_holds(stage, row):
    assert stage.run(row) == committed(TEXT, "holdfast")[row[1]]


@pytest.mark.fault_free
def test_the_table_shows_every_row_and_every_target():
    for target in TARGETS:
        assert set(committed(TEXT, target)) == {row[1] for row in ROWS}


@pytest.mark.fault_free
def test_the_table_says_of_each_row_what_the_promise_above_it_says():
    """Row 9, say, may show T, E 08007 or both, for that is what its line promises."""
    promises = dict(re.findall(r"^\| (\d+) \| [^|]* \| (.*) \|$", TEXT.split("## Side by side")[0], re.MULTILINE))
    promises["16"] = "**T**"  # in words: it reaches the backend that works for the session now
    for number, moment, _ in ROWS:
        words = committed(TEXT, "holdfast")[moment]
        assert any(f"**{said}**" in promises[number] for said in (words, words.split()[0])), (number, moment, words)
