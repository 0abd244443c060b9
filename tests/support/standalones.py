"""Standalone servers that can be killed, and started again with what they had: mongo-java-server, and the model."""

import os
import shutil
import signal
import subprocess
import tempfile

from support.installed import why_missing
from support.mongo import ModelSet
from support.postgres import CACHE
from support.waiting import free_port

JAVA_SERVER = CACHE / "mongo_java_server"
OLD_PYMONGO = JAVA_SERVER / "python"


def why_not():
    """Why there is no mongo-java-server here, nor a PyMongo for it; None where there are."""
    return why_missing("mongo_java_server")


class Process:
    """A server of one process with a folder of its own. Whoever inherits says how it is started."""

    name = "a server"

    def __init__(self):
        self.port = free_port()
        self._folder = tempfile.mkdtemp(prefix=f"{self.name}-")
        self.process = None
        self.start()

    def freeze(self):
        """It accepts, and answers nothing any more."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def kill(self):
        """kill -9."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()

    def close(self):
        self.kill()
        shutil.rmtree(self._folder)


class JavaServer(Process):
    """deploy/install-dependencies has built it. Its data is in a file, and whatever it has answered is there."""

    name = "mongo-java-server"

    def start(self):
        """Returns once it listens."""
        self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", shutil.which("java"), "-XX:TieredStopAtLevel=1", "-cp",
                                         f"{JAVA_SERVER}:{JAVA_SERVER}/*", "Server", str(self.port), f"{self._folder}/data"],
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout.readline() == "ready\n", f"{self.name} did not start"


class StandaloneModel:
    name = "the model"

    def __init__(self):
        self.model = ModelSet("--standalone")
        self.port = int(self.model.members[0].rsplit(":", 1)[1])

    def start(self):
        self.model.do("start", member=0)

    def freeze(self):
        self.model.do("freeze", member=0)

    def kill(self):
        self.model.do("kill", member=0)

    def close(self):
        self.model.close()
        assert "Traceback" not in self.model.problems, self.model.problems
