"""The pages say what is so: configurations in them pass `holdfast check`, what they link to and name is there, compose as well."""

import json
import os
import re
import subprocess

import pytest
import yaml

from conftest import ROOT, run
from support.holdfast import BINARY
from support.postgres import PostgresServer
from support.waiting import free_port, wait_for

PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]
OURS = ("install", "databases", "migrating", "sizing", "security", "upgrading")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", page.read_text()):
        if "://" in target:
            continue
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), (page.name, target)
        if anchor and path.suffix == ".md":
            headings = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
                        for heading in re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)}
            assert anchor in headings, (page.name, target, anchor)


@pytest.mark.parametrize("name", OURS)
def test_every_configuration_on_the_page_passes_check(name, tmp_path):
    blocks = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "docs" / f"{name}.md").read_text(), re.MULTILINE | re.DOTALL)
    assert blocks or name != "databases"
    for block in blocks:
        for path in set(re.findall(r"(?<![\w/])/(?:etc|run)/[\w./-]+", block)):
            copy = tmp_path / path.lstrip("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text("a-secret-of-the-test\n")
            block = block.replace(path, str(copy))
        (tmp_path / "holdfast.yaml").write_text(block)
        run(BINARY, "check", "-c", tmp_path / "holdfast.yaml")


@pytest.mark.parametrize("name", OURS)
def test_every_file_of_this_source_that_the_page_names_is_there(name):
    for path in re.findall(r"`((?:deploy|tests|bench)/[\w./-]+)`", (ROOT / "docs" / f"{name}.md").read_text()):
        assert (ROOT / path).exists(), (name, path)


def test_the_settings_of_a_connection_manager_do_what_the_table_says():
    """Each variable of migrating.md, by the running program's own settings."""
    admin = free_port()
    variables = {"DB_MAX_RETRIES": "7", "DB_RETRY_DELAY": "1500", "DB_HEALTH_CHECK_INTERVAL": "11000", "DB_CONNECTION_TIMEOUT": "2500",
                 "HOLDFAST_RECONNECT_KEEP_ALIVE_INTERVAL": "90s"}
    text = (ROOT / "docs/migrating.md").read_text()
    assert all(f"`{name}`" in text for name in variables)
    process = subprocess.Popen([BINARY, "run", "--upstream", "postgres://a@127.0.0.1:1/a", "--listen", f"127.0.0.1:{free_port()}",
                                "--admin", f"127.0.0.1:{admin}"], env={"PATH": os.environ["PATH"], **variables},
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        settings = wait_for(lambda: json.loads(run(BINARY, "config", "--admin", f"127.0.0.1:{admin}")), 10, "it answers")
        reconnect, health = settings["reconnect"], settings["health"]
        assert (reconnect["max_retries"], reconnect["retry_delay"], health["interval"], reconnect["connection_timeout"],
                reconnect["keep_alive_interval"]) == (7, "1500ms", "11s", "2500ms", "90s")
    finally:
        process.terminate()
        assert process.wait(timeout=10) == 0


def test_the_compose_file_describes_a_holdfast_that_serves(tmp_path):
    """Its environment, secret and command with this binary, before a server where the password counts."""
    services = yaml.safe_load((ROOT / "deploy/compose/compose.yaml").read_text())["services"]
    assert set(services["client"]["depends_on"]) == {"holdfast", "postgres"}  # `compose run` starts no other service
    service = services["holdfast"]
    assert (ROOT / "deploy/compose" / service["build"]["context"] / service["build"]["dockerfile"]).exists()
    assert service["read_only"] and service["cap_drop"] == ["ALL"]
    password = tmp_path / "password"
    password.write_text("change-me\n")
    port, admin = free_port(), free_port()
    server = PostgresServer("debian")
    server.write_access("local all all trust\nhost all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
    server.start()
    try:
        with server.connect(dbname="postgres") as connection:
            connection.execute("CREATE ROLE app LOGIN PASSWORD 'change-me'")
            connection.execute("CREATE DATABASE app OWNER app")
        environment = {name: value.replace("postgres:5432", f"127.0.0.1:{server.port}").replace("0.0.0.0:6432", f"0.0.0.0:{port}")
                       .replace("/run/secrets/password", str(password)) for name, value in service["environment"].items()}
        assert str(server.port) in environment["HOLDFAST_UPSTREAM"] and str(port) in environment["HOLDFAST_LISTEN"]
        process = subprocess.Popen([BINARY, "run", "--admin", f"127.0.0.1:{admin}"], env={"PATH": os.environ["PATH"], **environment},
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for(lambda: run(BINARY, "health", "--admin", f"127.0.0.1:{admin}") == "", 10, "healthy")
            query = ["psql", "-XAtw", "-h", "127.0.0.1", "-p", str(port), "-U", "app", "app", "-c", "SELECT current_user"]
            assert run(*query, env={**os.environ, "PGPASSWORD": "change-me"}) == "app\n"
            run(*query, env={**os.environ, "PGPASSWORD": "wrong"}, fails=True)
        finally:
            process.terminate()
            assert process.wait(timeout=10) == 0
    finally:
        server.close()
