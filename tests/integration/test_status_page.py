"""The status page in a real browser over a real database that is killed: badges, chart, buttons, toasts, the proxy's own loss; axe-core."""

import datetime
import json
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from support import browser as browsers
from support.holdfast import ROOT
from support.installed import node
from support.waiting import wait_for

QUICK = {"reconnect": {"max_retries": 2, "retry_delay": "300ms", "connection_timeout": "2s", "jitter": 0}, "health": {"interval": "200ms"}}


@pytest.fixture
def open_page():
    reason = browsers.missing()
    if reason:
        pytest.skip(reason)
    opened = []

    def start(proxy, path="/"):
        page = browsers.Browser(f"http://127.0.0.1:{proxy.admin_port}")
        opened.append(page)
        page.open(path)
        return page
    yield start
    for page in opened:
        page.close()


def assert_sound(page, network=0):
    """Nothing on the console, nothing from elsewhere, nothing that axe-core finds. `network`: 0 where no request may have failed."""
    problems = page.problems()
    assert problems["console"] == [] and problems["elsewhere"] == [], problems
    assert network or problems["network"] == [], problems
    assert page.accessibility() == []


def age(moment):
    """Seconds since a time as the API writes it."""
    return (datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(moment)).total_seconds()


def badge(state):
    return f"article .badge[data-state={state}]"


def test_the_badge_follows_a_kill_and_a_restart_and_toasts_tell_of_them(server, start_holdfast, open_page):
    proxy = start_holdfast(server, connection=QUICK)
    client = proxy.connect()
    client.execute("SELECT 1")
    # The page knows the proxy's clock to a second, and takes what is younger than another one for news.
    wait_for(lambda: age(proxy.state()["since"]) > 2, 10, "the connection's beginning is in the past")
    page = open_page(proxy)
    assert "connected" in page.wait(badge("connected"))
    page.wait(".link.live")
    page.wait("figcaption", "No outage in the last hour.")
    page.wait("table td", "127.0.0.1:")
    assert page.run("return await page.evaluate(() => window.toastsShown)") == [], "what was before the page is no news"
    wait_for(lambda: json.loads(proxy.admin("/api/v1/connections/main/history")[1])["latency"], 15, "health checks were measured")
    assert_sound(page)

    server.kill9()
    page.wait_for_toast("Connection lost: main")
    page.wait(badge("failed"))
    page.wait("article .error", "What to do:")
    page.wait_for_toast("All attempts failed: main")
    page.wait("header.top p[role=status]", "1 of 1 not connected")
    assert_sound(page)

    server.start()
    page.wait(badge("connected"))
    page.wait_for_toast("Reconnected: main")
    page.wait("article .error.past", "Last error, now over")
    page.wait("figcaption", "1 outage in the last hour")
    page.wait("ol.events li", "Connection lost")
    assert client.execute("SELECT 2").fetchone() == (2,)
    assert_sound(page)


def test_a_countdown_shows_when_the_next_attempt_comes(server, start_holdfast, open_page):
    proxy = start_holdfast(server, connection={"reconnect": {"max_retries": 9, "retry_delay": "30s", "jitter": 0}})
    page = open_page(proxy)
    page.wait(badge("connected"))
    server.kill9()
    text = page.wait(f"{badge('reconnecting')} .countdown", "next attempt in")
    first = int(text.split()[-2])
    assert 1 <= first <= 30, text

    def runs_down():
        return int(page.wait(f"{badge('reconnecting')} .countdown", "next attempt in").split()[-2]) < first
    wait_for(runs_down, 10, "it counts down")
    assert_sound(page)


def test_force_reconnect_asks_first_and_then_does_it(server, start_holdfast, open_page):
    proxy = start_holdfast(server, connection=QUICK)
    page = open_page(proxy)
    page.wait(badge("connected"))
    page.click("button", "Force reconnect")
    page.wait("dialog[open]", "Client sessions keep theirs")
    assert page.accessibility() == []
    page.click("button", "Cancel")
    page.wait_until_gone("dialog[open]")
    assert "forced" not in proxy.log() and proxy.log().count("attempting to reconnect main") == 0
    page.click("button", "Force reconnect")
    page.click("button", "Reconnect")
    page.wait_for_toast("Reconnecting: main")
    proxy.wait_for_log("attempting to reconnect main")
    page.wait(badge("connected"))
    assert_sound(page)


def test_pause_and_resume_work_by_keyboard_alone(server, start_holdfast, open_page):
    proxy = start_holdfast(server, connection=QUICK)
    page = open_page(proxy)
    page.wait(badge("connected"))
    reach = """
        for (let i = 0; i < 40; ++i) {
            await page.keyboard.press("Tab");
            if (await page.evaluate(() => document.activeElement.textContent) === given.name) return true;
        }
        return false;"""
    assert page.run(reach, name="Pause")
    page.run("await page.keyboard.press('Enter')")
    page.wait("dialog[open]")
    page.run("await page.keyboard.press('Escape')")
    page.wait_until_gone("dialog[open]")
    assert proxy.state()["state"] == "connected"
    assert page.run(reach, name="Pause")
    page.run("await page.keyboard.press('Enter')")
    page.wait("dialog[open]")
    assert page.run(reach, name="Pause")
    page.run("await page.keyboard.press('Enter')")
    page.wait(badge("paused"))
    assert proxy.state()["state"] == "paused"
    assert_sound(page)
    assert page.run(reach, name="Resume")
    page.run("await page.keyboard.press('Enter')")
    page.wait(badge("connected"))


def test_the_page_says_when_it_has_lost_the_proxy_and_comes_back_by_itself(server, start_holdfast, open_page):
    proxy = start_holdfast(server, connection=QUICK)
    page = open_page(proxy)
    page.wait(badge("connected"))
    page.wait(".link.live")
    proxy.terminate()
    page.wait("section.lost", "has not answered since")
    assert page.run("return await page.getByRole('button', {name: 'Force reconnect'}).isDisabled()")
    assert_sound(page, network=1)
    again = start_holdfast(server, connection=QUICK, ready=False, admin_port=proxy.admin_port)
    again.wait_for_state("connected")
    page.wait(".link.live", timeout=30)
    page.wait_until_gone("section.lost")
    page.wait_for_toast("The proxy answers again")
    assert page.problems()["console"] == []


def test_a_change_of_settings_is_told_and_its_source_shown(server, start_holdfast, open_page):
    proxy = start_holdfast(server, connection=QUICK, environment={"HOLDFAST_HEALTH_TIMEOUT": "3s"})
    page = open_page(proxy)
    page.wait(badge("connected"))
    page.run("await page.getByText('Settings and where they come from').click()")
    row = "return (await page.locator('tr', {hasText: given.name}).innerText()).split(/\\s*\\t\\s*/)"
    page.wait("tr", "reconnect.max_retries")
    assert page.run(row, name="reconnect.max_retries")[1] == "2"
    assert page.run(row, name="reconnect.max_retries")[2].startswith("file:")
    assert page.run(row, name="reconnect.multiplier")[2] == "default"
    assert page.run(row, name="health.timeout")[1:] == ["3s", "environment HOLDFAST_HEALTH_TIMEOUT"]
    status, text = proxy.admin("/api/v1/config", {"reconnect": {"multiplier": 3}}, method="PATCH")
    assert status == 200, text
    page.wait_for_toast("Settings changed: main")
    wait_for(lambda: page.run(row, name="reconnect.multiplier")[1:] == ["3", "changed at run time"], 10, "the new value")
    assert_sound(page)


def test_it_is_good_from_a_phone_to_a_wide_screen_light_and_dark(server, start_holdfast, open_page):
    proxy = start_holdfast(server, connection=QUICK)
    proxy.connect().execute("SELECT 1")
    page = open_page(proxy)
    page.wait(badge("connected"))
    page.wait("figcaption")
    for scheme in ("light", "dark"):
        page.run("await page.emulateMedia({colorScheme: given.scheme})", scheme=scheme)
        for width in (320, 768, 1920):
            page.run("await page.setViewportSize({width: given.width, height: 800})", width=width)
            # The charts follow the width a frame later.
            overflow = "return await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)"
            wait_for(lambda: page.run(overflow) <= 0, 5.0, f"nothing overflows in {scheme} at {width}")
            assert_sound(page)


def test_a_page_behind_a_token_asks_for_it(server, start_holdfast, open_page, tmp_path):
    token = "open-sesame-4711"
    (tmp_path / "token").write_text(token + "\n")
    proxy = start_holdfast(server, connection=QUICK, admin={"token_file": str(tmp_path / "token")}, token=token)
    page = open_page(proxy)
    page.wait("form.unlock")
    assert page.accessibility() == []
    for word, then in (("wrong", "p[role=alert]"), (token, badge("connected"))):
        page.run("await page.getByLabel('Token').fill(given.word)", word=word)
        page.click("button", "Show the connections")
        page.wait(then)
    assert_sound(page, network=1)


# What the proxy says, and a word of what is to be done about it.
ADVICES = [
    ('password authentication failed for user "app"', "Correct the password in the configuration"),
    ("login refused: Authentication failed. (127.0.0.1:27017)", "authSource"),
    ("login refused: SCRAM authentication failed, storedKey mismatch (127.0.0.1:27017)", "authSource"),
    ("connection refused (127.0.0.1:27017)", "Nothing listens at this address"),
    ('127.0.0.1:27017: it is a member of "rs0" and not of "shop"', "replicaSet"),
    ("127.0.0.1:27017: it is a mongos, and the URI names a replica set", "replicaSet"),
    ("127.0.0.1:27017: it is a standalone server, and the URI names a replica set", "replicaSet"),
    ("127.0.0.1:27017: it is a member of a set that was not initiated", "rs.initiate()"),
    ("127.0.0.1:27017 is a secondary", "directConnection"),
    ("127.0.0.1:27017 is neither a primary nor a secondary", "directConnection"),
    ("cannot look up _mongodb._tcp.db.example.com: the server refused it", "DNS"),
    ("cannot look up db: Host not found (authoritative)", "DNS"),
    ("something that nobody foresaw", "server's log"),
]


def test_what_to_do_about_an_error_is_told_of_that_error(tmp_path):
    esbuild = browsers.CACHE / "page" / "node_modules" / ".bin" / "esbuild"
    if not esbuild.exists():
        pytest.skip(f"{esbuild} is missing: run deploy/install-dependencies")
    words = tmp_path / "words.mjs"
    subprocess.run([esbuild, ROOT / "admin/page/src/words.ts", "--bundle", "--format=esm", f"--outfile={words}", "--log-level=error"], check=True, timeout=60)
    code = """globalThis.sessionStorage = { getItem: () => null };
              const { advice } = await import(process.argv[1]);
              console.log(JSON.stringify(JSON.parse(process.argv[2]).map(advice)));"""
    told = subprocess.run([node(), "--input-type=module", "-e", code, words, json.dumps([error for error, _ in ADVICES])],
                          capture_output=True, text=True, check=True, timeout=60).stdout
    wrong = [(error, text) for (error, word), text in zip(ADVICES, json.loads(told), strict=True) if word not in text]
    assert wrong == []


def test_the_committed_page_is_what_its_sources_build():
    packages = browsers.CACHE / "page"
    if not (packages / "node_modules").exists():
        pytest.skip(f"{packages} holds no node_modules: run deploy/install-dependencies")
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder) / "page"
        shutil.copytree(ROOT / "admin" / "page", copy, ignore=shutil.ignore_patterns("node_modules", "built"))
        (copy / "node_modules").symlink_to(packages / "node_modules")
        done = subprocess.run(["npm", "run", "build"], cwd=copy, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        for name in ("index.html", "policy.txt"):
            assert (copy / "built" / name).read_bytes() == (ROOT / "admin/page/built" / name).read_bytes(), \
                f"{name}: run `npm run build` in admin/page and commit what it makes"
