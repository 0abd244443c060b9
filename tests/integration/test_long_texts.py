"""Simple queries of thousands of statements, as a migration sends them at once: they hold up nobody else."""

import os
import pathlib

import pytest

TABLES = "".join(f"CREATE TEMP TABLE IF NOT EXISTS tt_{number} (id int, v text);" for number in range(50))
TEXTS = {
    "commits": "COMMIT;" * 10_000,
    "a schema": TABLES + "INSERT INTO ids VALUES (1);" * 5_000,
    "calls": "SELECT set_config('myapp.tenant', 'one', false);" * 3_000,
}


def processor_time(pid):
    """In seconds."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_costs_by_its_length_and_not_by_its_square(server, proxy, name):
    client = proxy.wire()
    before = processor_time(proxy.process.pid)
    reply = client.query(TEXTS[name], deadline=60)
    assert len(reply.tags) == TEXTS[name].count(";") and not reply.errors
    assert processor_time(proxy.process.pid) - before < 2


def test_what_a_text_of_many_statements_has_set_comes_back_after_a_loss(server, proxy):
    client = proxy.wire()
    client.query("SELECT set_config('myapp.tenant', 'one', false); COMMIT; SELECT set_config('myapp.tenant', 'two', false); "
                 "SET search_path = extra; COMMIT; BEGIN; SET search_path = public; ROLLBACK; SELECT set_config('myapp.other', 'three', false)")
    server.restart("kill9")
    row = client.query("SELECT current_setting('myapp.tenant'), current_setting('search_path'), current_setting('myapp.other')", deadline=20).rows
    assert row == [("two", "extra", "three")]
