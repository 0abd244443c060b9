"""A page in Debian's Chromium, driven through playwright-core by tests/browser/drive.js: code goes out, values come back."""

import json
import pathlib
import subprocess

from support.installed import node
from support.postgres import CACHE, ROOT

PACKAGES = CACHE / "browser"
CHROMIUM = pathlib.Path("/usr/bin/chromium")


def missing():
    """Why no browser can be had, or None."""
    if not CHROMIUM.exists():
        return "chromium is not installed: run deploy/install-dependencies"
    if not (PACKAGES / "node_modules" / "playwright-core").exists():
        return f"{PACKAGES} holds no playwright-core: run deploy/install-dependencies"
    return None


class Browser:
    """One page. `run` evaluates the body of an async JavaScript function with `page`, `context`, `axe`, `problems` and `given`."""

    def __init__(self, origin):
        self.origin = origin
        self._process = subprocess.Popen([node(), str(ROOT / "tests" / "browser" / "drive.js"), str(PACKAGES), origin], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, text=True)

    def run(self, code, **given):
        self._process.stdin.write(json.dumps({"code": code, "arguments": given}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the browser ended"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["value"]

    def open(self, path="/"):
        self.run("await page.goto(given.url)", url=self.origin + path)

    def wait(self, selector, text=None, timeout=20.0):
        """Waits until an element is visible (that holds `text`, where it is given); the element's text."""
        return self.run("""
            const all = given.text === null ? page.locator(given.selector) : page.locator(given.selector, {hasText: given.text});
            await all.first().waitFor({timeout: given.timeout});
            return await all.first().innerText();""", selector=selector, text=text, timeout=timeout * 1000)

    def wait_for_toast(self, text, timeout=20.0):
        """Waits until a toast with this text has been shown, also where it has gone since."""
        self.run("await page.waitForFunction((text) => window.toastsShown.some((toast) => toast.includes(text)), given.text, {timeout: given.timeout})",
                 text=text, timeout=timeout * 1000)

    def wait_until_gone(self, selector, timeout=20.0):
        self.run("await page.locator(given.selector).first().waitFor({state: 'hidden', timeout: given.timeout})", selector=selector,
                 timeout=timeout * 1000)

    def click(self, role, name):
        self.run("await page.getByRole(given.role, {name: given.name, exact: true}).click()", role=role, name=name)

    def accessibility(self):
        """What axe-core finds wrong."""
        return self.run("return await axe()")

    def problems(self):
        return self.run("return problems")

    def screenshot(self, path):
        self.run("await page.screenshot({path: given.path, animations: 'disabled'})", path=str(path))

    def close(self):
        self._process.stdin.close()
        try:
            self._process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
