"""What deploy/install-dependencies has installed, and what it could not, and why."""

import shutil

from support.postgres import CACHE


def node():
    """Node: the system's, but where that is too old one from npm."""
    path = next((CACHE / "node").glob("node_modules/node-linux-*/bin/node"), None) or shutil.which("node")
    assert path, "there is no node: run deploy/install-dependencies"
    return str(path)


def why_missing(name):
    """Why this one is not there, by the installation's words, which begin with its name; None where they do not name it."""
    missing = CACHE / "missing"
    words = missing.read_text(encoding="utf-8").splitlines() if missing.exists() else []
    return next((line for line in words if line.startswith(f"{name}:")), None)
