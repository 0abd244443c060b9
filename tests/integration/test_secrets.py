"""No secret in anything that the program emits: a proxy with every kind of secret is used, misused and asked for everything it shows."""

import json
import pathlib
import urllib.parse

import psycopg
import pytest

from support.commands import ask
from support.holdfast import Background, run_binary
from support.postgres import PASSWORDS
from support.waiting import wait_for

WRONG = "a-wrong-password-8c1d"
TOKEN = "token-of-the-admin-port-77aa"
NOTIFY = "secret-of-a-webhook-52fe"
VARIABLE = "password-in-a-variable-3b9c"


def emitted(proxy):
    """Everything that can be read from the outside."""
    texts = {}
    for path in ("/", "/healthz", "/readyz", "/metrics", "/api/openapi.json", "/api/v1/connections", "/api/v1/connections/main", "/nothing",
                 "/api/v1/connections/main/history", "/api/v1/sessions", "/api/v1/config", "/api/connection/status"):
        texts[f"GET {path}"] = proxy.admin(path)[1]
    texts["a refused change"] = proxy.admin("/api/v1/config", {"reconnect": {"max_retries": TOKEN}, "password": 1}, method="PATCH")[1]
    texts["a wrong token"] = run_binary("status", "--admin", f"127.0.0.1:{proxy.admin_port}", "--token-file", str(proxy.config_path)).stderr
    for command in (("status",), ("status", "--json"), ("events", "--json"), ("events",), ("config",)):
        answer = ask(proxy, *command, "--token-file", proxy.folder / "token")
        texts[" ".join(command)] = answer.stdout + answer.stderr
    answer = run_binary("check", "-c", proxy.config_path, environment={"SHOP_PASSWORD": VARIABLE})
    texts["check"] = answer.stdout + answer.stderr
    texts["log"] = proxy.log()
    texts["process title"] = pathlib.Path(f"/proc/{proxy.process.pid}/cmdline").read_text() + pathlib.Path(f"/proc/{proxy.process.pid}/comm").read_text()
    return texts


@pytest.mark.parametrize("log_format", ("text", "json"))
def test_no_secret_is_in_anything_that_is_emitted(server, start_holdfast, tmp_path, log_format):
    verifier = server.query("SELECT rolpassword FROM pg_authid WHERE rolname = 'scram_other'")[0][0]
    for name, secret in (("token", TOKEN), ("notify", NOTIFY), ("query", PASSWORDS["md5_user"])):
        (tmp_path / name).write_text(secret + "\n")
    secrets = {WRONG, TOKEN, NOTIFY, VARIABLE, verifier, verifier.split("$")[2].split(":")[0], *PASSWORDS.values()}
    uri = server.uri("scram_user", password=urllib.parse.quote(PASSWORDS["scram_user"]))
    proxy = start_holdfast(
        uri, token=TOKEN, admin={"token_file": str(tmp_path / "token")}, environment={"SHOP_PASSWORD": VARIABLE},
        top={"log": {"level": "debug", "format": log_format},
             "notify": [{"url": "http://127.0.0.1:1/hook", "events": ["database-connection-lost"], "secret_file": str(tmp_path / "notify")}]},
        connection={"auth": "scram", "users": [{"name": "other", "password_env": "SHOP_PASSWORD"}, {"name": "scram_other", "scram": verifier}],
                    "reconnect": {"max_retries": 1, "retry_delay": "100ms", "hold_timeout": "5s"}})
    (proxy.folder / "token").write_text(TOKEN)
    client = proxy.connect(user="scram_user", password=PASSWORDS["scram_user"])
    client.execute("SELECT 1")
    proxy.connect(user="scram_other", password=PASSWORDS["scram_other"]).execute("SELECT 1")
    for user, password in (("scram_user", WRONG), ("scram_other", PASSWORDS["scram_user"]), ("nobody", WRONG), ("other", WRONG)):
        with pytest.raises(psycopg.OperationalError) as caught:
            proxy.connect(user=user, password=password)
        assert not any(secret in str(caught.value) for secret in secrets)
    # An outage, and a server that no longer takes the password.
    held = Background(lambda: proxy.connect(user="scram_user", password=PASSWORDS["scram_user"]))
    held.result()
    server.kill9()
    proxy.wait_for_state("failed")
    with pytest.raises(psycopg.OperationalError):
        client.execute("SELECT 2")
    server.start()
    proxy.wait_for_state("connected")
    server.query(f"ALTER ROLE scram_user PASSWORD '{WRONG}'")
    try:
        assert proxy.admin("/api/v1/connections/main/reconnect", {})[0] == 202
        wait_for(lambda: "password" in (proxy.state()["lastError"] or ""), 15, "the refusal is shown")
        texts = emitted(proxy)
    finally:
        server.query(f"ALTER ROLE scram_user PASSWORD '{PASSWORDS['scram_user']}'")
    assert all(texts[name] for name in ("log", "GET /metrics", "GET /api/v1/config", "events", "status", "config")), texts
    told = [(name, secret) for name, text in texts.items() for secret in secrets if secret in text or json.dumps(secret)[1:-1] in text]
    # What the test itself sent as a value comes back by name only.
    assert told == []
    if log_format == "json":
        for line in proxy.log().splitlines():
            assert {"time", "level", "message"} <= json.loads(line).keys(), line
