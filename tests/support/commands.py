"""Commands of holdfast that speak to the admin port: run to their end or kept running, and a stub to speak to in its place."""

import contextlib
import http.server
import os
import pty
import re
import select
import subprocess
import threading

from support.holdfast import BINARY, run_binary
from support.waiting import wait_for


def ask(proxy, *arguments, **words):
    """Runs a command with the proxy's address."""
    return run_binary(*arguments, "--admin", f"http://127.0.0.1:{proxy.admin_port}", **words)


def assert_sentence(answer, pattern):
    """Exit 1 with one line on standard error and nothing else."""
    assert answer.returncode == 1, answer
    assert answer.stdout == "", answer
    assert re.fullmatch(rf"holdfast: .*{pattern}.*\n", answer.stderr), answer


@contextlib.contextmanager
def stub(answer):
    """An HTTP server of one's own: `answer(handler)` serves each request. Yields its address."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # pylint: disable=invalid-name
            answer(self)

        def log_message(self, *_):  # pylint: disable=arguments-differ
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def reply(body, status=200, kind="application/json"):
    def answer(handler):
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)
    return answer


class Running:
    """A command that goes on, its standard output a pipe or a terminal; `read_until` waits for a pattern in it."""

    def __init__(self, *arguments, terminal=False, environment=None):
        self.text = ""
        self._ours, theirs = pty.openpty() if terminal else os.pipe()
        clean = {name: value for name, value in os.environ.items() if name != "NO_COLOR" and not name.startswith("HOLDFAST_")}
        self.process = subprocess.Popen([str(BINARY), *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=theirs,
                                        stderr=subprocess.PIPE, env={**clean, "TERM": "xterm", **(environment or {})})
        os.close(theirs)

    def read_until(self, pattern, deadline=10.0):
        def seen():
            # A terminal whose other side is closed gives an error, a pipe gives nothing.
            with contextlib.suppress(OSError):
                while select.select([self._ours], [], [], 0)[0]:
                    piece = os.read(self._ours, 65536)
                    if not piece:
                        break
                    self.text += piece.decode()
            return re.search(pattern, self.text, re.DOTALL)
        return wait_for(seen, deadline, f"/{pattern}/ in {self.text!r}")

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()
        os.close(self._ours)
