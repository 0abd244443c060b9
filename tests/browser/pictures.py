"""Takes the pictures of the documentation: `pictures.py MINUTES` runs three connections over servers that are killed now and then for so
long, so that the chart has something to show, and then photographs the page in each state. HOLDFAST_BINARY and HOLDFAST_CACHE as in the tests.
"""

import json
import pathlib
import random
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support.browser import Browser  # noqa: E402
from support.holdfast import Holdfast  # noqa: E402
from support.postgres import ROOT, PostgresServer  # noqa: E402
from support.waiting import free_port, wait_for  # noqa: E402

IMAGES = ROOT / "docs" / "images"


def started():
    server = PostgresServer()
    server.start()
    server.prepare()
    return server


def state_of(proxy, connection):
    return next(each for each in json.loads(proxy.admin("/api/v1/connections")[1]) if each["connectionId"] == connection)["state"]


def main(minutes):
    servers = [started(), started()]
    quick = {"reconnect": {"max_retries": 3, "retry_delay": "3s", "jitter": 0}, "health": {"interval": "1s"}}
    others = [{"id": name, "type": "postgres", "listen": f"127.0.0.1:{free_port()}", "upstream": servers[1].uri(), "auth": "trust", **quick}
              for name in ("billing", "reports")]
    port = free_port()
    first = {"id": "orders", "type": "postgres", "listen": f"127.0.0.1:{port}", "upstream": servers[0].uri(), "auth": "trust", **quick}
    proxy = Holdfast(servers[0].uri(), top={"connections": [first, *others]}, ready=False)
    proxy.port = port
    wait_for(lambda: state_of(proxy, "orders") == "connected", 20)
    clients = [proxy.connect(application_name=name) for name in ("shop", "shop", "worker", "console")]
    clients[1].execute("SET search_path = extra")
    clients[2].execute("CREATE TEMPORARY TABLE basket (id int)")
    page = Browser(f"http://127.0.0.1:{proxy.admin_port}")
    page.open("/#orders")
    picture = lambda name: page.screenshot(IMAGES / f"{name}.png")  # noqa: E731
    shows = lambda state: page.wait(f"article .badge[data-state={state}]", timeout=40)  # noqa: E731

    end = time.monotonic() + minutes * 60
    next_kill = time.monotonic() + 60
    while time.monotonic() < end:
        # Load that comes and goes, so that the latency does.
        servers[0].query("SELECT count(*) FROM generate_series(1, %s::int) a", (random.randrange(1, 400_000),))
        if time.monotonic() > next_kill:
            next_kill = time.monotonic() + random.randrange(100, 200)
            servers[0].kill9()
            time.sleep(random.randrange(2, 9))
            servers[0].start()
        time.sleep(0.3)
    page.run("await page.reload()")
    shows("connected")
    page.wait("figcaption", "outage")
    picture("connected")
    page.run("await page.emulateMedia({colorScheme: 'dark'}); await page.setViewportSize({width: 390, height: 844})")
    picture("phone-dark")
    page.run("await page.emulateMedia({colorScheme: 'light'}); await page.setViewportSize({width: 1280, height: 900})")
    page.click("button", "Pause")
    page.run("await page.locator('dialog[open] .primary').click()")
    shows("paused")
    page.wait_until_gone(".toast", timeout=30)
    picture("paused")
    page.click("button", "Resume")
    shows("connected")
    servers[0].kill9()
    shows("reconnecting")
    page.wait("article .countdown", "next attempt in")
    page.wait("article .error", "Connection refused")
    picture("reconnecting")
    shows("failed")
    page.wait("article .error", "Connection refused")
    page.wait(".toast.bad", "All attempts failed")
    picture("failed")
    servers[0].start()
    shows("connected")
    page.wait_until_gone(".toast", timeout=40)
    proxy.terminate()
    page.wait("section.lost")
    picture("proxy-lost")
    page.close()
    for server in servers:
        server.close()


if __name__ == "__main__":
    main(float(sys.argv[1]))
