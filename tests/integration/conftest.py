"""Fixtures of the tests on real servers: one server a file, one proxy a test. What is expected stands in the tests."""

import pathlib
import sys

import pytest
from pymongo import MongoClient

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import holdfast as under_test  # noqa: E402
from support import mongod_set  # noqa: E402
from support.holdfast import DIRECT, Holdfast  # noqa: E402
from support.mongo import ModelSet  # noqa: E402
from support.mongod_set import MongodSet  # noqa: E402
from support.postgres import VERSIONS, PostgresServer, Unavailable  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "fault_free: passes without the proxy too (HOLDFAST_DIRECT=1), to check the equipment")
    config.addinivalue_line("markers", "no_ledger: what it shows is otherwise where HOLDFAST_EXACTLY_ONCE=1")
    config.addinivalue_line("markers", "versions: a row of the table, which every version must pass")


def pytest_addoption(parser):
    parser.addoption("--versions", default="debian", help="PostgreSQL versions to run on, by commas: 13 to 18, or debian")
    parser.addoption("--seed", type=int, help="of test_oracles.py: the schedule and what clients do")
    parser.addoption("--oracle-seconds", type=float, default=60, help="of test_oracles.py: how long faults are inflicted")
    parser.addoption("--kills", type=int, default=100, help="kills for each case of test_certainly_not_committed.py")
    parser.addoption("--with-faults", action="store_true", help="with HOLDFAST_DIRECT=1: run the tests that must then fail too")


# Elections, starts and the first copy of the data take seconds there.
MONGOD_SECONDS = 300


def for_mongods(config, items):
    """More time for the tests on real mongods; without a mongod one of them a file says so, for all of the file, and the others are left out."""
    found = {}
    for item in items:
        if hasattr(item, "callspec") and item.callspec.params.get("set_kind") == "mongod":
            found.setdefault(item.path, []).append(item)
            if not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(MONGOD_SECONDS))
    if mongod_set.program():
        return
    for first, *others in found.values():
        first.add_marker(pytest.mark.skip(reason=f"no mongod on PATH, MONGOD not set: {1 + len(others)} of these tests run on one, too"))
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]


@pytest.hookimpl(trylast=True)  # behind -k and -m
def pytest_collection_modifyitems(config, items):
    for_mongods(config, items)
    for item in items:
        if under_test.EXACTLY_ONCE and item.get_closest_marker("no_ledger"):
            item.add_marker(pytest.mark.skip(reason="another outcome with the ledger"))
    if DIRECT and not config.getoption("--with-faults"):
        skip = pytest.mark.skip(reason="needs the proxy")
        for item in items:
            if not item.get_closest_marker("fault_free"):
                item.add_marker(skip)


def pytest_generate_tests(metafunc):
    if "server_version" in metafunc.fixturenames:
        versions = metafunc.config.getoption("--versions").split(",")
        assert set(versions) <= {"debian", *VERSIONS}, versions
        metafunc.parametrize("server_version", versions, scope="module", ids=lambda name: f"postgres-{name}")


def pytest_sessionstart(session):
    if not DIRECT and not under_test.BINARY.exists():
        pytest.exit(f"{under_test.BINARY} does not exist: build it first", returncode=2)


def pytest_sessionfinish(session):
    # ctest lists an entry as skipped by this line (SKIP_REGULAR_EXPRESSION).
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter and reporter.stats.get("skipped") and not any(map(reporter.stats.get, ("passed", "failed", "error"))):
        reporter.write_line("holdfast-tests: nothing of this ran")


@pytest.fixture(scope="module")
def module_server(server_version):
    """The file's server; `server` sees to it that each test finds it running."""
    try:
        server = PostgresServer(server_version)
    except Unavailable as reason:
        pytest.skip(str(reason))
    server.start()
    server.prepare()
    if under_test.EXACTLY_ONCE:
        server.query(under_test.run_binary("ledger").stdout)
    yield server
    server.close()


@pytest.fixture(scope="module")
def module_model():
    """The file's model of a MongoDB replica set; its own `model` sees to it that each test finds it whole."""
    model = ModelSet("--members", 3)
    yield model
    model.close()
    assert not model.problems, model.problems


@pytest.fixture(scope="session", params=["model", "mongod"])
def set_kind(request):
    """Which kind of set a test runs on: one test a kind."""
    return request.param


@pytest.fixture(scope="session")
def start_set(set_kind):
    """`start_set("--wire", 21)` starts a set, the model with these arguments or one of real mongods; the caller ends it."""
    return MongodSet if set_kind == "mongod" else lambda *arguments: ModelSet("--members", 3, *arguments)


@pytest.fixture(scope="module")
def mongods():
    """The file's real mongods, for `fresh_set`."""
    one = MongodSet()
    yield one
    one.close()
    assert not one.problems, one.problems


@pytest.fixture
def fresh_set(set_kind, request):
    """A set that nothing has befallen: a model for one test alone, or the file's real mongods, whole again and emptied."""
    if set_kind == "model":
        with ModelSet("--members", 3) as one:
            yield one
        assert "Traceback" not in one.problems, one.problems
        return
    one = request.getfixturevalue("mongods")
    one.restore()
    with MongoClient(one.uri()) as direct:
        direct.drop_database("test")
    yield one


@pytest.fixture(scope="module")
def module_set(start_set):
    """The file's replica set: the model, and once more real mongods."""
    one = start_set()
    yield one
    one.close()
    assert "Traceback" not in one.problems and "ended by itself" not in one.problems, one.problems


@pytest.fixture
def model():
    """A model of a MongoDB replica set for one test alone."""
    with ModelSet("--members", 3) as one:
        yield one
    assert "Traceback" not in one.problems, one.problems


@pytest.fixture
def server(module_server):
    """A running server, whatever the test before did to it; its tables are empty."""
    if module_server.is_running:
        module_server.thaw()
    else:
        module_server.start()
    module_server.wait_until_accepting()
    module_server.query("TRUNCATE ids")
    yield module_server
    if module_server.is_running:
        module_server.thaw()


@pytest.fixture
def start_holdfast():
    """Starts proxies: `start_holdfast(server_or_uri, connection={…}, top={…})`. Each is ended and judged after the test."""
    started = []

    def start(upstream=None, **words):
        uri = upstream.uri() if isinstance(upstream, PostgresServer) else upstream
        proxy = Holdfast(uri, **words)
        started.append(proxy)
        return proxy

    yield start
    problems = []
    for proxy in reversed(started):
        try:
            proxy.close()
        except AssertionError as problem:
            problems.append(str(problem))
    assert not problems, "\n".join(problems)


@pytest.fixture
def proxy(server, start_holdfast):
    """The proxy in front of `server`, with the defaults of a user who only names the upstream."""
    return start_holdfast(server)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Shows the proxy's log beside a failed test."""
    report = (yield).get_result()
    proxy = getattr(item, "funcargs", {}).get("proxy")
    if report.failed and call.when == "call" and proxy is not None:
        report.sections.append(("holdfast's log", proxy.log()[-6000:]))
