"""The model beside a real MongoDB: captured requests are sent to it again, and every reply must have the captured shape.

Where it may differ, and why, stands in tests/fixtures/mongo/differences.yaml; an entry that is no longer needed fails the test.
"""

import pytest
import yaml

from support.mongo_captures import LEFT_OUT, SCENES, play
from support.mongo_replay import FIXTURES, scenarios
from support.mongo_shape import differences, shape

pytestmark = [pytest.mark.fault_free, pytest.mark.timeout(240)]
FILES = sorted(path.stem for path in FIXTURES.glob("*.jsonl"))
ALLOWED = yaml.safe_load((FIXTURES / "differences.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("file", FILES)
def test_replies_have_the_captured_shape(file):
    problems, played, requests = [], 0, 0
    for name, lines in scenarios(file).items():
        found = play(name, lines)
        if found is None:
            assert any(name.startswith(key) for key in LEFT_OUT), f"{name} is not played, and no reason is given"
            continue
        played += 1
        requests += sum("event" not in line for line in lines)
        allowed = ALLOWED["differences"].get(name, {})
        assert set(allowed.values()) <= set(ALLOWED["reasons"]), f"{name}: a difference without a known reason"
        problems += [f"{name} step {step}: {'; '.join(lines_of)}" for step, lines_of in found.items() if step not in allowed]
        problems += [f"{name} step {step}: as captured by now, so take it from the list" for step in allowed if step not in found]
    print(f"{file}: {played} exchanges, {requests} requests")
    assert played
    assert not problems, "\n".join(problems)


def test_every_allowed_difference_is_of_an_exchange_that_is_played():
    known = {name for file in FILES for name in scenarios(file)}
    assert set(ALLOWED["differences"]) <= known
    assert all(any(name.startswith(key) for name in known) for key in [*SCENES, *LEFT_OUT])


def test_the_comparison_sees_a_difference():
    real = shape({"ok": 1.0, "n": 1, "writeErrors": [{"index": 0, "code": 11000, "errmsg": "x"}]})
    assert differences(real, shape({"ok": 1.0, "n": 1, "writeErrors": [{"index": 0, "code": 11000, "errmsg": "other words"}]})) == []
    for other in ({"ok": 1.0, "n": 2}, {"ok": 1.0, "n": 1}, {"ok": 1.0, "n": 1, "writeErrors": [{"index": 0, "code": 112, "errmsg": "x"}]},
                  {"ok": 1.0, "n": 1, "extra": 1, "writeErrors": [{"index": 0, "code": 11000, "errmsg": "x"}]}, {"ok": 1, "n": 1}):
        assert differences(real, shape(other)), other
