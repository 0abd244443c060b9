"""What a new user does by docs/install.md to have holdfast beside one pod, with this test as the cluster; every step is timed.

No cluster and no container engine are at hand. The image's own files are the container's root, a network namespace is the pod, and what the
kubelet does is done as the manifest says it: volumes, users, probes, environment, the order of the beginning and of the end.
"""

import contextlib
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import time
import urllib.request

import pytest
import yaml

from conftest import BUILD, ROOT, run
from support import netns
from support.certificates import Authority
from support.holdfast import BINARY
from support.postgres import PostgresServer
from support.waiting import wait_for
from test_kubernetes import build

WORDS_A_MINUTE = 200
SECTION = re.search(r"^## Kubernetes: a sidecar\n(.*?)^### ", (ROOT / "docs/install.md").read_text(), re.MULTILINE | re.DOTALL)[1]


class Steps:
    """Takes the time of each step, and writes it down for deploy/check."""

    def __init__(self):
        self.lines, self.sum, self._since = [], 0.0, time.monotonic()

    def done(self, what):
        now = time.monotonic()
        self.lines.append(f"{now - self._since:6.1f} s  {what}")
        self.sum += now - self._since
        self._since = now

    def write(self):
        minutes = len(SECTION.split()) / WORDS_A_MINUTE
        (BUILD / "ten-minutes.txt").write_text("\n".join([
            f"{60 * minutes:6.0f} s  reading the section of docs/install.md, at {WORDS_A_MINUTE} words a minute", *self.lines,
            f"{60 * minutes + self.sum:6.0f} s  together, beside what compiling the image takes (deploy/check --full)"]) + "\n")
        return 60 * minutes + self.sum


def commands():
    """The shell commands of the section, each with its words."""
    blocks = re.findall(r"^```\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
    return [shlex.split(part, comments=True) for line in "".join(blocks).splitlines() for part in line.split(" && ") if part.strip()]


def command(*beginning):
    found = [words for words in commands() if words[:len(beginning)] == list(beginning)]
    assert len(found) == 1, (beginning, commands())
    return found[0]


class Pod:
    """The kubelet's work for one pod of a Deployment."""

    def __init__(self, deployment, maps, secrets, image, folder, host):
        self.spec = deployment["spec"]["template"]["spec"]
        self.maps, self.secrets, self.image, self.host = maps, secrets, image, host
        self.volumes = {volume["name"]: self._volume(volume, folder / volume["name"]) for volume in self.spec["volumes"]}
        self.sidecar, = (each for each in self.spec["initContainers"] if each.get("restartPolicy") == "Always")
        self.application, = self.spec["containers"]

    def _volume(self, volume, folder):
        data = self.maps[volume["configMap"]["name"]] if "configMap" in volume else self.secrets[volume["secret"]["secretName"]]
        folder.mkdir(parents=True)
        for name, text in data.items():
            (folder / name).write_text(text)
        return folder

    def _environment(self, container):
        values = {}
        for variable in container.get("env", []):
            key = variable.get("valueFrom", {}).get("secretKeyRef")
            values[variable["name"]] = self.secrets[key["name"]][key["key"]] if key else variable["value"]
        return values

    def start_sidecar(self, command_line, environment):
        """In the image's files, which nothing can be written to, with the volumes where the manifest mounts them."""
        security = self.sidecar["securityContext"]
        assert security["readOnlyRootFilesystem"] and security["capabilities"] == {"drop": ["ALL"]}
        script = ['root=$1; shift', 'mount --bind "$root" "$root"']
        for mount in self.sidecar["volumeMounts"]:
            place = self.image / mount["mountPath"].lstrip("/")
            place.mkdir(parents=True, exist_ok=True)  # as every runtime does
            script += [f"mount --bind {self.volumes[mount['name']]} {place}", f"mount -o remount,ro,bind {place}"]
        user = f"{security['runAsUser']}:{security['runAsGroup']}"
        script += ['mount -o remount,ro,bind "$root"', f'exec setpriv --no-new-privs --pdeathsig KILL chroot --userspec={user} "$root" "$@"']
        return subprocess.Popen(self.host.command(["unshare", "--mount", "sh", "-ec", "\n".join(script), "sh", str(self.image), *command_line]),
                                env={"PATH": os.environ["PATH"], **environment}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True)

    def probe(self, name):
        """The kubelet's: from outside, to the pod's address, without a token."""
        action = self.sidecar[name]["httpGet"]
        port, = (each["containerPort"] for each in self.sidecar["ports"] if each["name"] == action["port"])
        try:
            with urllib.request.urlopen(f"http://{self.host.address}:{port}{action['path']}", timeout=self.sidecar[name].get("timeoutSeconds", 1)) as answer:
                return answer.status == 200
        except OSError:
            return False

    def start_application(self, log):
        user = str(self.application["securityContext"]["runAsUser"])
        return subprocess.Popen(self.host.command(["setpriv", "--reuid", user, "--regid", user, "--clear-groups", "--pdeathsig", "KILL",
                                                   *self.application["command"]]),
                                env={"PATH": os.environ["PATH"], **self._environment(self.application)}, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


@pytest.fixture
def host():
    reason = netns.why_not()
    if reason:
        pytest.skip(reason)
    made = netns.Host()
    yield made
    made.close()


@pytest.fixture
def database(host, tmp_path):
    """The user's own: on another host, in TLS only, with a password."""
    server = PostgresServer("debian")
    server.set(listen_addresses=f"'{host.here}'")
    Authority(tmp_path / "authority").issue_to_server(server)
    server.write_access("local all all trust\nhostssl all orders_app all scram-sha-256\n")
    server.start()
    with server.connect(dbname="postgres") as connection:
        connection.execute("CREATE ROLE orders_app LOGIN PASSWORD 'of-the-new-user'")
        connection.execute("CREATE DATABASE orders OWNER orders_app")
    yield server
    server.close()


def clone(folder):
    """What git knows of this source, and nothing that lies about in it."""
    names = run("git", "-c", "safe.directory=*", "-C", ROOT, "ls-files", "-z").split("\0")
    listed = "\0".join(name for name in names if name and (ROOT / name).exists())
    run("tar", "-C", ROOT, "--null", "--files-from=-", "-cf", folder / "source.tar", input=listed, stdin=None)
    run("tar", "-C", folder, "-xf", folder / "source.tar")
    return folder


def edit(path, *changes):
    text = path.read_text()
    for before, after in changes:
        assert before in text, (path, before)
        text = text.replace(before, after)
    path.write_text(text)


def environment_of_the_image(dockerfile):
    return dict(re.findall(r"^ENV (\w+)=(\S+)$", dockerfile, re.MULTILINE))


@contextlib.contextmanager
def running(process):
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_by_the_page_a_new_user_has_a_sidecar_that_survives_the_database(host, database, tmp_path):
    steps = Steps()
    source = tmp_path / "source"
    source.mkdir()
    clone(source)
    steps.done("a clone")

    docker = command("docker", "build")
    dockerfile = (source / docker[docker.index("-f") + 1]).read_text()
    name, tag = docker[docker.index("-t") + 1].rsplit(":", 1)
    image = tmp_path / "image"
    run(source / "deploy/image/collect", BINARY, image)
    steps.done("the image's files, of a program that is compiled already")

    literals = dict(word.removeprefix("--from-literal=").split("=", 1) for word in command("kubectl", "create", "secret", "generic", "holdfast")
                    if word.startswith("--from-literal="))
    assert set(literals) == {"admin-token", "orders-password"}
    secret = {"admin-token": "0123456789abcdef", "orders-password": "of-the-new-user"}
    overlay = source / command("kubectl", "apply", "-k")[3]
    edit(overlay / "holdfast.yaml", ("db.databases.svc:5432", f"{host.here}:{database.port}"))
    edit(overlay / "kustomization.yaml", ("registry.example.com/holdfast", name), ("0.1.0", tag))
    documents = list(yaml.safe_load_all(build(overlay)))
    deployment, = (each for each in documents if each["kind"] == "Deployment")
    maps = {each["metadata"]["name"]: each["data"] for each in documents if each["kind"] == "ConfigMap"}
    steps.done("the two edits and kustomize")

    pod = Pod(deployment, maps, {"holdfast": secret}, image, tmp_path / "volumes", host)
    assert pod.sidecar["image"] == f"{name}:{tag}"
    entry, arguments = (json.loads(re.search(rf"^{word} (\[.*\])$", dockerfile, re.MULTILINE)[1]) for word in ("ENTRYPOINT", "CMD"))
    log = tmp_path / "application.log"
    with running(pod.start_sidecar(entry + arguments, environment_of_the_image(dockerfile))) as sidecar, open(log, "wb") as output:
        startup = pod.sidecar["startupProbe"]
        wait_for(lambda: pod.probe("startupProbe"), startup["periodSeconds"] * startup["failureThreshold"], "the startup probe answers")
        steps.done("the sidecar's start, until its probe answers")
        with running(pod.start_application(output)) as application:
            wait_for(lambda: log.read_text().count("\n") >= 1, 20, "the application has its first answer")
            steps.done("the application's start, until its first answer")
            survives(database, pod, application, log)
            steps.done("the database killed and started, until the same session has gone on")
            application.send_signal(signal.SIGTERM)
            application.wait(timeout=10)
        sidecar.send_signal(signal.SIGTERM)
        assert sidecar.wait(timeout=10) == 0, sidecar.stdout.read()
    assert "of-the-new-user" not in sidecar.stdout.read() + log.read_text()
    assert steps.write() < 600


def survives(database, pod, application, log):
    before = log.read_text().count("\n")
    database.restart("kill9_all")
    wait_for(lambda: log.read_text().count("\n") >= before + 2, 30, "the application's session goes on")
    wait_for(lambda: pod.probe("livenessProbe"), 10, "it lives, as the kubelet sees it")
    assert application.poll() is None
    lines = log.read_text().splitlines()
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+\+\d\d", line) for line in lines if line), lines
