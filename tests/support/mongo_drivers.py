"""The MongoDB programs in integration/drivers, and how each is started once deploy/install-dependencies has built it."""

import pathlib
import shutil
import sys

import pytest

from support.installed import node, why_missing
from support.postgres import CACHE

HERE = pathlib.Path(__file__).resolve().parents[1] / "integration" / "drivers"
BUILT = CACHE / "drivers"


def _pymongo():
    return [sys.executable, str(HERE / "mongo_pymongo" / "survivor.py")], {}


def _motor():
    return [sys.executable, str(HERE / "mongo_motor" / "survivor.py")], {}


def _c():
    assert (BUILT / "mongo_c" / "survivor").exists()
    return [str(BUILT / "mongo_c" / "survivor")], {}


def _node():
    modules = BUILT / "mongo_node" / "node_modules"
    assert (modules / "mongodb").exists()
    return [node(), str(HERE / "mongo_node" / "survivor.js")], {"NODE_PATH": str(modules)}


def _go():
    assert (BUILT / "mongo_go" / "survivor").exists()
    return [str(BUILT / "mongo_go" / "survivor")], {}


def _java():
    assert (BUILT / "mongo_java" / "Survivor.class").exists()
    return [_required("java"), "-XX:TieredStopAtLevel=1", "-cp", f"{BUILT / 'mongo_java'}:{BUILT / 'mongo_java'}/*", "Survivor"], {}


def _rust():
    assert (BUILT / "mongo_rust" / "survivor").exists()
    return [str(BUILT / "mongo_rust" / "survivor")], {}


def _required(program):
    path = shutil.which(program)
    assert path
    return path


DRIVERS = {"pymongo": _pymongo, "motor": _motor, "c": _c, "node": _node, "go": _go, "java": _java, "rust": _rust}


def command(name):
    """(arguments, environment) of the program; skips, with the reason of the installation, where it could not be built."""
    try:
        return DRIVERS[name]()
    except AssertionError:
        reason = why_missing(f"mongo_{name}")
        if reason is None:
            raise
        pytest.skip(reason)
