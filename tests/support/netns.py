"""A test host: a network namespace with an address of its own, whose packets can be dropped. Needs root; removed at the end."""

import itertools
import os
import shutil
import subprocess

_numbers = itertools.count(os.getpid() % 200)


def why_not():
    """Why this machine cannot make a namespace, or None."""
    if os.geteuid() != 0:
        return "a network namespace needs root"
    for program in ("ip", "nft"):
        if not shutil.which(program):
            return f"{program} is not on PATH"
    probe = subprocess.run(["ip", "netns", "add", "hf-probe"], capture_output=True, text=True, check=False)
    if probe.returncode:
        return f"ip netns: {probe.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", "hf-probe"], check=False)
    return None


class Host:
    """A namespace joined to this machine by a pair of virtual interfaces; `address` is the host's, `here` this machine's."""

    def __init__(self):
        number = next(_numbers)
        self.name = f"hf-{os.getpid()}-{number}"
        outer, inner = f"hf{os.getpid() % 10000}o{number}", f"hf{os.getpid() % 10000}i{number}"
        self.here, self.address = f"10.213.{number % 250}.1", f"10.213.{number % 250}.2"
        run("ip", "netns", "add", self.name)
        try:
            run("ip", "link", "add", outer, "type", "veth", "peer", "name", inner)
            run("ip", "link", "set", inner, "netns", self.name)
            run("ip", "addr", "add", f"{self.here}/30", "dev", outer)
            run("ip", "link", "set", outer, "up")
            self.inside("ip", "addr", "add", f"{self.address}/30", "dev", inner)
            self.inside("ip", "link", "set", inner, "up")
            self.inside("ip", "link", "set", "lo", "up")
            self.inside("nft", "add", "table", "inet", "holes")
            self.inside("nft", "add", "chain", "inet", "holes", "received", "{ type filter hook input priority 0; policy accept; }")
        except BaseException:
            self.close()
            raise

    def command(self, words):
        """`words` changed to run inside."""
        return ["ip", "netns", "exec", self.name, *words]

    def inside(self, *words):
        run(*self.command(words))

    def black_hole(self, on=True):
        """Every packet that arrives is dropped without an answer, or passes again. Loopback inside is not touched."""
        self.inside("nft", "flush", "chain", "inet", "holes", "received")
        if on:
            self.inside("nft", "add", "rule", "inet", "holes", "received", "iifname", "!=", "lo", "drop")

    def close(self):
        """Removes the namespace, and with it the interfaces."""
        subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True)


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
