"""Sixteen clients of PyMongo while the primary is killed, stopped, stepped down, cut off and frozen: nothing lost, nothing doubled."""

import os
import random

import pytest

from support.mongo_faults import Faults
from support.mongo_oracle import Oracle

# Seconds of faults with w: majority, and half as many with w: 1: a minute; `./test --long` says more.
SECONDS = int(os.environ.get("HOLDFAST_ORACLE_SECONDS", "40"))


def under_faults(start_holdfast, start_set, concern, seconds):
    """(verdict, the faults that struck, the proxy)."""
    seed = int(os.environ.get("HOLDFAST_SEED") or random.randrange(2**32))
    print(f"HOLDFAST_SEED={seed}")
    # A newer server and an older one. Members lag: a majority is waited for, and what only one has acknowledged is lost when it dies.
    with start_set("--wire", 21 if concern == "majority" else 9) as model:
        if len(model.members) < 3:
            pytest.skip("nobody else can be elected")
        model.do("lag", ms=20)
        proxy = start_holdfast(model.uri(), connection={"type": "mongodb", "reconnect": {"hang_timeout": "500ms"}})
        oracle = Oracle(f"mongodb://127.0.0.1:{proxy.port}/", model.uri(), concern)
        faults = Faults(model, seed)
        try:
            faults.run(seconds, oracle)
        finally:
            verdict = oracle.finish(model)
        disconnections = proxy.disconnections()
    assert not model.problems, model.problems
    print(f"{verdict.acknowledged} writes acknowledged through {len(faults.struck)} losses, {verdict.rolled_back} rolled back by the servers")
    assert not verdict.faults(), "\n".join(verdict.faults() + [f"struck by {faults.struck}"])
    assert disconnections == 0
    return verdict, faults


@pytest.mark.timeout(2 * SECONDS + 300)
def test_majority_writes_are_there_once_and_no_client_notices(start_holdfast, start_set):
    verdict, faults = under_faults(start_holdfast, start_set, "majority", SECONDS)
    assert verdict.acknowledged > 500
    kinds = {*Faults.KINDS, Faults.SLEEPER}
    assert len(faults.struck) >= 5 and (len(faults.struck) < len(kinds) or set(faults.struck) == kinds), faults.struck
    assert verdict.rolled_back == 0


@pytest.mark.timeout(2 * SECONDS + 300)
def test_writes_of_one_member_are_never_doubled_and_only_rollbacks_lose_any(start_holdfast, start_set, set_kind):
    verdict, _ = under_faults(start_holdfast, start_set, 1, SECONDS // 2)
    assert verdict.acknowledged > 250
    if set_kind == "model":
        assert verdict.rolled_back > 0, "nothing was at stake"
