"""The OpenAPI document against the running server: schemathesis makes requests from it, good and bad, and judges the answers."""

import json
import subprocess

import pytest

from support.holdfast import ROOT
from support.postgres import CACHE

SCHEMATHESIS = CACHE / "venv" / "bin" / "schemathesis"
CONFIG = ROOT / "tests" / "integration" / "schemathesis.toml"
DOCUMENT = json.loads((ROOT / "admin" / "openapi.json").read_text())


def test_the_document_is_served_as_it_stands_in_the_repository(proxy):
    status, text = proxy.admin("/api/openapi.json")
    assert status == 200 and text == (ROOT / "admin" / "openapi.json").read_text()


def test_every_route_of_the_document_answers_and_no_method_beyond_it(proxy):
    for path, item in DOCUMENT["paths"].items():
        if path == "/api/v1/events":
            continue  # stays open
        target = path.replace("{connectionId}", proxy.id)
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            status, text = proxy.admin(target, body={} if method in ("POST", "PATCH") else None, method=method)
            if method.lower() in item:
                assert status in (200, 202) or path == "/api/connection/status" and status == 400, (method, target, status, text)
            else:
                assert status == 405, (method, target, status, text)


def test_the_settings_of_each_type_of_connection_are_those_of_the_document(start_holdfast):
    schemas = pytest.importorskip("jsonschema_rs", reason="it comes with schemathesis")
    document = {"$ref": "#/components/schemas/Settings", "components": DOCUMENT["components"]}
    for kind, other in (("postgres", "mongodb"), ("mongodb", "postgres")):
        proxy = start_holdfast(f"{kind}://127.0.0.1:1/app", connection={"type": kind}, ready=False)
        settings = json.loads(proxy.admin("/api/v1/config")[1])
        schemas.validate(document, settings)
        settings["connections"][proxy.id]["type"] = other
        assert not schemas.is_valid(document, settings), "the document tells the types apart"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("phase", ("examples,coverage", "fuzzing"))
def test_schemathesis_finds_no_answer_that_the_document_does_not_know(server, start_holdfast, phase, tmp_path):
    if not SCHEMATHESIS.exists():
        pytest.skip(f"{SCHEMATHESIS} is missing: run deploy/install-dependencies")
    # The id that the document has as its example, so that orders are given and not only refused.
    proxy = start_holdfast(server, connection={"id": "orders"}, ready=False)
    proxy.wait_for_log("connected to orders")
    done = subprocess.run(
        [str(SCHEMATHESIS), "--config-file", str(CONFIG), "run", f"http://127.0.0.1:{proxy.admin_port}/api/openapi.json", "--phases", phase, "--checks", "all",
         # The stream of events does not end, and waiting for it would be the whole of the test; test_events.py has it.
         "--exclude-path", "/api/v1/events",
         "--max-examples", "25", "--seed", "20112411", "--request-timeout", "5", "--generation-database", "none", "--no-color"],
        capture_output=True, text=True, check=False, timeout=240, cwd=tmp_path)
    assert done.returncode == 0, (done.stdout + done.stderr)[-8000:]
    assert proxy.is_running and proxy.admin("/healthz")[0] == 200
