"""SecantusDB as a process: a single node that looks like a replica set of MongoDB 8, can be killed, and started again with what it had."""

import subprocess

from pymongo import MongoClient

from support import processes
from support.installed import why_missing
from support.postgres import CACHE
from support.standalones import Process
from support.waiting import wait_for

PROGRAM = CACHE / "secantusdb" / "bin" / "secantusd-py"


def why_not():
    """Why there is no SecantusDB here; None where there is."""
    return why_missing("secantusdb")


class Secantus(Process):
    """deploy/install-dependencies has installed it. Whatever it has acknowledged is on its disk."""

    name, set_name = "secantusdb", "secantus"

    def __init__(self, *arguments):
        self.arguments = arguments
        super().__init__()

    @property
    def uri(self):
        return f"mongodb://127.0.0.1:{self.port}/"

    def start(self):
        """Returns once it answers."""
        with open(f"{self._folder}/log", "ab") as log:
            self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", str(PROGRAM), "--port", str(self.port), "--storage-path",
                                             f"{self._folder}/data", "--sync-on-commit", *self.arguments], cwd=self._folder, env=processes.environment(),
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        with self.client(serverSelectionTimeoutMS=500) as client:
            wait_for(lambda: self.process.poll() is not None or client.admin.command("ping")["ok"], 30.0, "an answer of SecantusDB")
        assert self.process.poll() is None, self.log()

    def log(self):
        with open(f"{self._folder}/log", encoding="utf-8", errors="replace") as log:
            return log.read()

    def client(self, **options):
        """A client of its own, without the proxy."""
        return MongoClient(self.uri, directConnection=True, **options)
