"""The measured table in docs/transparency-mongodb.md is what holdfast does, on real mongods, too; HOLDFAST_SUITES=all: and what a driver alone does
on the model."""

import os

import pytest

from support.mongo_table import LOSSES, ROUTES, documented, table

ALL = os.environ.get("HOLDFAST_SUITES") == "all"


@pytest.mark.timeout(1200)
def test_the_measured_letters_are_those_of_the_document(start_set, set_kind):
    routes = ROUTES if ALL and set_kind == "model" else ROUTES[:1]
    stated, found = documented(), table(routes, start_set)
    assert set(stated) == set(found), "a row is missing: run support.mongo_table --write"
    wrong = [f"{row} {what}, {loss}, {route}: {found[row, what][route, loss]} where {stated[row, what][route, loss]} is documented"
             for row, what in found for route in routes for loss in LOSSES
             if found[row, what][route, loss] != stated[row, what][route, loss]]
    assert not wrong, "\n".join(wrong)
