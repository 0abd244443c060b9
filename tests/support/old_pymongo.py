"""A PyMongo of another version than the tests' own, as a process that does what it is told: `OldPyMongo(port, folder).do("find", {})`.

Run as a program it is that process: it reads `[method, arguments, words]` a line and writes what came of it.
"""

import os
import subprocess
import sys
import threading
from pathlib import Path

from bson import json_util

TESTS = Path(__file__).resolve().parent.parent


class Refused(Exception):
    """An error of the driver's; `code` is the server's, None where it is the driver's own."""

    def __init__(self, code, text):
        super().__init__(f"{code}: {text}")
        self.code = code


class OldPyMongo:
    """A client of 127.0.0.1 with the PyMongo that is installed in `folder`."""

    def __init__(self, port, folder):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(TESTS)])}
        self.process = subprocess.Popen([sys.executable, "-m", "support.old_pymongo", str(port)], cwd=TESTS, env=environment,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._lock = threading.Lock()

    def do(self, method, *arguments, **words):
        """What this method of the collection `test.things` returns: a list for a cursor, nothing for the result of a write.

        Three are not the collection's: `command` is the database's, `kind` says what the server is taken for, and `noticed` what the
        driver's listeners noted of lost servers and connections.
        """
        with self._lock:
            self.process.stdin.write(json_util.dumps([method, arguments, words]) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        assert line, f"PyMongo ended while it was to {method}"
        answer = json_util.loads(line)
        if "error" in answer:
            raise Refused(answer["code"], answer["error"])
        return answer["value"]

    def close(self):
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


def perform(watched, method, arguments, words):
    if method == "noticed":
        watched.hear_out()
        return [line for line in watched.noticed.trouble if " failed: " not in line or line.startswith("heartbeat")]
    if method == "kind":
        watched.client.admin.command("ping")
        return [one.server_type_name for one in watched.client.topology_description.server_descriptions().values()]
    value = getattr(watched.client.test if method == "command" else watched.collection, method)(*arguments, **words)
    if method == "find":
        return list(value)
    return None if hasattr(value, "acknowledged") else value


def main():
    # pylint: disable=import-outside-toplevel
    from pymongo.errors import PyMongoError
    from support.mongo_listener import WatchedClient
    watched = WatchedClient(int(sys.argv[1]))
    for line in sys.stdin:
        try:
            answer = {"value": perform(watched, *json_util.loads(line))}
        except PyMongoError as error:
            answer = {"code": getattr(error, "code", None), "error": f"{type(error).__name__}: {error}"}
        print(json_util.dumps(answer), flush=True)
    watched.close()


if __name__ == "__main__":
    main()
