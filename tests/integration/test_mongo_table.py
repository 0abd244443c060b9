"""The measured table in docs/transparency-mongodb.md is what holdfast does; what a driver alone does is checked with HOLDFAST_SUITES=all."""

import os

import pytest

from support.mongo_table import LOSSES, ROUTES, documented, table

ALL = os.environ.get("HOLDFAST_SUITES") == "all"


@pytest.mark.timeout(400)
def test_the_measured_letters_are_those_of_the_document():
    routes = ROUTES if ALL else ROUTES[:1]
    stated, found = documented(), table(routes)
    assert set(stated) == set(found), "a row is missing: run support.mongo_table --write"
    wrong = [f"{row} {what}, {loss}, {route}: {found[row, what][route, loss]} where {stated[row, what][route, loss]} is documented"
             for row, what in found for route in routes for loss in LOSSES
             if found[row, what][route, loss] != stated[row, what][route, loss]]
    assert not wrong, "\n".join(wrong)
