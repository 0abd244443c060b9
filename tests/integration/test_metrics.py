"""/metrics as Prometheus sees it: promtool's opinion, a real Prometheus that scrapes and alerts, the rules' own tests, the dashboard's names."""

import json
import re
import subprocess
import urllib.parse
import urllib.request

import pytest
import yaml

from support import processes
from support.holdfast import ROOT
from support.waiting import free_port, wait_for

PROMETHEUS = ROOT / "deploy" / "prometheus"


def promtool(*arguments, given=None, folder=None):
    done = subprocess.run([processes.require("promtool"), *map(str, arguments)], input=given, capture_output=True, text=True, check=False,
                          timeout=60, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_promtool_finds_nothing_wrong_with_the_metrics(server, proxy):
    proxy.connect().execute("SELECT 1")
    server.restart()
    proxy.wait_for_state("connected")
    assert promtool("check", "metrics", given=proxy.admin("/metrics")[1]) == ""


def test_health_checks_are_measured(server, start_holdfast):
    proxy = start_holdfast(server, connection={"health": {"interval": "50ms"}})
    wait_for(lambda: proxy.metric("holdfast_health_check_seconds_count") >= 3, 10, "three checks")
    assert 0 < proxy.metric("holdfast_health_check_seconds_sum") < 30


def test_a_paused_connection_is_up(proxy):
    assert proxy.admin("/api/v1/connections/main/pause", {})[0] == 200
    proxy.wait_for_state("paused")
    assert proxy.metric("holdfast_upstream_up") == 1


def test_the_rules_pass_their_own_tests():
    promtool("check", "rules", "alerts.yaml", folder=PROMETHEUS)
    promtool("test", "rules", "alerts_test.yaml", folder=PROMETHEUS)


def names_in(text):
    """Names of metrics that an expression uses, a histogram's without their endings."""
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\b(?:holdfast|process)_[a-z_]+", text)}


def test_rules_and_dashboard_ask_for_metrics_that_exist(proxy):
    known = set(re.findall(r"^# TYPE (\S+)", proxy.admin("/metrics")[1], re.MULTILINE))
    rules = yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text())["groups"][0]["rules"]
    for rule in rules:
        assert names_in(rule["expr"]) <= known, rule["alert"]
        assert rule["annotations"].keys() == {"summary", "description", "runbook"}, rule["alert"]
        assert (ROOT / "docs" / "operations.md").read_text().count(f"`{rule['alert']}`") == 1, f"operations.md says nothing of {rule['alert']}"
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "holdfast.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    for expression in expressions:
        assert names_in(expression) and names_in(expression) <= known, expression
    assert len(expressions) > 12


@pytest.fixture
def prometheus(proxy, tmp_path):
    """A Prometheus that scrapes the proxy each second with the rules of deploy/; asked by `query`."""
    port = free_port()
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump({
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": [str(PROMETHEUS / "alerts.yaml")],
        "scrape_configs": [{"job_name": "holdfast", "static_configs": [{"targets": [f"127.0.0.1:{proxy.admin_port}"]}]}]}))
    log = open(tmp_path / "log", "wb")
    process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", processes.require("prometheus"), f"--config.file={tmp_path}/prometheus.yaml",
                                f"--storage.tsdb.path={tmp_path}/data", f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log,
                               stdin=subprocess.DEVNULL)

    def query(expression):
        """{labels as a dict, frozen: value} now."""
        url = f"http://127.0.0.1:{port}/api/v1/query?query={urllib.parse.quote(expression)}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            return [(each["metric"], float(each["value"][1])) for each in json.load(answer)["data"]["result"]]
    yield query
    process.kill()
    process.wait()
    log.close()


def test_the_expressions_of_the_dashboard_can_be_evaluated(proxy, prometheus):
    wait_for(lambda: prometheus("holdfast_build_info"), 30, "it is scraped")
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "holdfast.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*").replace("$connection", ".*")
            prometheus(expression)  # an expression that cannot be read is a 400


def test_a_prometheus_scrapes_it_and_sees_an_outage_and_its_alert(server, proxy, prometheus):
    wait_for(lambda: prometheus('holdfast_upstream_up{connection="main"} == 1'), 30, "it is scraped")
    wait_for(lambda: prometheus("up")[0][1] == 1, 10, "it is up")
    # With the default settings the breaker would open half a minute later.
    assert proxy.admin("/api/v1/config", {"reconnect": {"max_retries": 1, "retry_delay": "100ms"}}, method="PATCH")[0] == 200
    server.kill9()
    wait_for(lambda: prometheus('holdfast_upstream_up{connection="main"} == 0'), 20, "the outage is seen")
    wait_for(lambda: prometheus('ALERTS{alertname="HoldfastBreakerOpen",alertstate="firing",connection="main"}'), 20, "the alert fires")
    server.start()
    wait_for(lambda: prometheus('holdfast_outage_seconds_count{connection="main"} == 1'), 20, "the end is seen")
    wait_for(lambda: not prometheus('ALERTS{alertname="HoldfastBreakerOpen",alertstate="firing"}'), 20, "the alert is over")
