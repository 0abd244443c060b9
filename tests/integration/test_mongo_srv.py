"""mongodb+srv:// through the system's resolver, against a DNS server of the test: what is found, what is refused, what is tried again."""

import threading
from contextlib import closing

import pytest

from support import name_server
from support.holdfast import Background, run_binary
from support.mongo import ModelSet
from support.mongo_listener import WatchedClient
from support.name_server import NameServer
from support.waiting import wait_for

SRV, HOST = "_mongodb._tcp.set.db.test", "set.db.test"
PASSWORD = "apppw-5eaf00d"
QUICK = {"type": "mongodb", "reconnect": {"retry_delay": "200ms", "max_delay": "300ms"}}


@pytest.fixture(scope="module", autouse=True)
def root():
    if reason := name_server.why_not():
        pytest.skip(reason)


@pytest.fixture(scope="module")
def model():
    with ModelSet("--members", 3, "--user", f"shop:app:{PASSWORD}:root") as one:
        yield one
    assert "Traceback" not in one.problems, one.problems


@pytest.fixture
def names(tmp_path):
    with NameServer(tmp_path) as server:
        yield server


def targets(model, domain="db.test"):
    """SRV records for the model's members, by names whose addresses are known."""
    return [f"0 0 {address.rsplit(':', 1)[1]} m{number}.{domain}." for number, address in enumerate(model.members)]


def fill(names, model):
    names.records = {(SRV, "SRV"): targets(model), **{(f"m{number}.db.test", "A"): ["127.0.0.1"] for number in range(3)}}


def start(start_holdfast, names, uri=f"mongodb+srv://{HOST}/?tls=false", **words):
    return start_holdfast(uri, **{"connection": QUICK, "wrapper": names.wrapper(), **words})


def test_the_members_are_found_and_a_client_lives_through_their_loss(model, names, start_holdfast):
    fill(names, model)
    names.records[HOST, "TXT"] = ['"authSource=shop&" "replicaSet=rs0"']
    proxy = start(start_holdfast, names, f"mongodb+srv://app:{PASSWORD}@{HOST}/?tls=false", connection={**QUICK, "auth": "scram"})
    proxy.secrets.add(PASSWORD)
    assert "set.db.test" not in {one["address"].split(":")[0] for one in proxy.state()["endpoints"]}
    with closing(WatchedClient(proxy.port, username="app", password=PASSWORD, authSource="shop")) as watched:
        watched.collection.insert_one({"_id": "found"})
        old = model.primary()
        model.do("kill", how="rst")
        watched.collection.insert_one({"_id": "found after a loss"})
        wait_for(lambda: model.primary() not in (None, old), what="another primary")
        model.do("start", member=old)
        watched.saw_nothing()
    # A reload knows what was found.
    proxy.connection_config["max_clients"] = 7
    proxy.write_config()
    proxy.reload()
    proxy.wait_for_log("settings of main changed")
    with closing(WatchedClient(proxy.port, username="app", password=PASSWORD, authSource="shop")) as watched:
        assert watched.collection.count_documents({}) == 2
        watched.collection.drop()


def test_a_look_up_that_fails_is_told_and_tried_again_until_it_works(model, names, start_holdfast):
    proxy = start(start_holdfast, names, f"mongodb+srv://app:{PASSWORD}@{HOST}/shop?tls=false", ready=False)
    proxy.secrets.add(PASSWORD)
    wait_for(lambda: f"cannot look up {SRV}: Unknown host" in (proxy.state()["lastError"] or ""), what="a name that does not exist")
    names.refuses = True
    wait_for(lambda: "Host name lookup failure" in (proxy.state()["lastError"] or ""), what="a server that cannot say")
    proxy.wait_for_state("failed")
    names.refuses = False
    fill(names, model)
    proxy.wait_for_state("connected")
    assert f"{SRV} names " in proxy.log()


def test_a_resolver_that_is_silent_holds_up_nothing_but_the_attempt(model, names, start_holdfast):
    names.silent = True
    proxy = start(start_holdfast, names, ready=False, connection={**QUICK, "reconnect": {"connection_timeout": "500ms", "retry_delay": "200ms"}})
    wait_for(lambda: f"timed out looking up {SRV}" in (proxy.state()["lastError"] or ""), what="the time-out")
    names.silent = False
    fill(names, model)
    proxy.wait_for_state("connected", deadline=20)


@pytest.mark.parametrize("records, sentence", [
    ({(SRV, "SRV"): ["0 0 27017 m0.db.elsewhere.test."]}, 'names "m0.db.elsewhere.test", which is outside of db.test'),
    ({(HOST, "TXT"): ['"authSource=shop"', '"replicaSet=rs0"']}, "has several TXT records"),
    ({(HOST, "TXT"): ['"readPreference=nearest"']}, "something else than authSource, replicaSet and loadBalanced=false"),
    ({(HOST, "TXT"): ['"loadBalanced=true"']}, "something else than authSource, replicaSet and loadBalanced=false"),
])
def test_what_dns_may_not_say_is_refused(model, names, start_holdfast, records, sentence):
    fill(names, model)
    names.records.update(records)
    proxy = start(start_holdfast, names, ready=False)
    wait_for(lambda: sentence in (proxy.state()["lastError"] or ""), what="the refusal")
    assert proxy.state()["state"] != "connected"


def test_tls_is_on_unless_the_uri_says_otherwise(model, names, start_holdfast):
    fill(names, model)
    proxy = start(start_holdfast, names, f"mongodb+srv://{HOST}/", ready=False)
    wait_for(lambda: "TLS" in (proxy.state()["lastError"] or ""), what="members that speak no TLS")


@pytest.mark.timeout(150)
def test_mongos_come_and_go_with_dns_and_no_client_notices(names, start_holdfast):
    """A minute of it is the specification's: nothing is looked up again before."""
    def name(*numbers):
        names.records[SRV, "SRV"] = [f"0 0 {sharded.mongos[number].rsplit(':', 1)[1]} m{number}.db.test." for number in numbers]

    def addresses():
        return sorted(one["address"].split(".")[0] for one in proxy.state()["endpoints"])

    def write():
        while not ended.is_set():
            watched.collection.update_one({"_id": "count"}, {"$inc": {"n": 1}})
            written.append(1)
            ended.wait(0.01)

    written, ended = [], threading.Event()
    with ModelSet("--members", 1, "--mongos", 3) as sharded:
        names.records = {(f"m{number}.db.test", "A"): ["127.0.0.1"] for number in range(3)}
        name(0)
        proxy = start(start_holdfast, names)
        assert addresses() == ["m0"]
        options = names.asked.count((HOST, "TXT"))
        with closing(WatchedClient(proxy.port)) as watched:
            watched.collection.insert_one({"_id": "count", "n": 0})
            writer = Background(write)
            names.refuses = True
            wait_for(lambda: names.asked.count((SRV, "SRV")) >= 2, deadline=75, what="a second look-up")
            proxy.wait_for_log("cannot look up _mongodb._tcp.set.db.test: Host name lookup failure")
            assert addresses() == ["m0"]
            name(1, 2)
            names.refuses = False
            wait_for(lambda: addresses() == ["m1", "m2"], deadline=20, what="the other two")
            proxy.wait_for_state("connected")
            before = len(written)
            wait_for(lambda: len(written) > before + 10, what="writes by the other two")
            ended.set()
            writer.result()
            assert watched.collection.find_one({"_id": "count"})["n"] == len(written)
            watched.saw_nothing()
        assert names.asked.count((HOST, "TXT")) == options > 0, "TXT records are not asked for again"
    assert "Traceback" not in sharded.problems, sharded.problems


def check(names, tmp_path):
    path = tmp_path / "holdfast.yaml"
    patience = "500ms" if names.silent else "10s"
    path.write_text(f'connections: [{{id: a, type: mongodb, listen: 127.0.0.1:27018, upstream: "mongodb+srv://{HOST}/", '
                    f'reconnect: {{connection_timeout: {patience}}}}}]\n')
    return run_binary("check", "-c", path, wrapper=names.wrapper())


def test_check_says_what_dns_has(model, names, tmp_path):
    fill(names, model)
    names.records[HOST, "TXT"] = ['"authSource=shop&replicaSet=rs0"']
    done = check(names, tmp_path)
    said = done.stdout.strip()
    assert done.returncode == 0 and not done.stderr, done
    assert said.startswith(f"a: {SRV} names ") and said.endswith("; replicaSet=rs0, authSource=shop")
    assert all(f"m{number}.db.test:{address.rsplit(':', 1)[1]}" in said for number, address in enumerate(model.members))


def test_check_finds_what_dns_may_not_say(names, tmp_path):
    names.records = {(SRV, "SRV"): ["0 0 27017 m0.db.elsewhere.test."]}
    done = check(names, tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f'a: {SRV} names "m0.db.elsewhere.test", which is outside of db.test\n'


@pytest.mark.parametrize("silent, sentence", [(False, f"cannot look up {SRV}: Unknown host"), (True, f"timed out looking up {SRV}")])
def test_check_only_warns_of_a_name_that_cannot_be_looked_up_from_here(names, tmp_path, silent, sentence):
    names.silent = silent
    done = check(names, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", f"warning: a: {sentence}\n")


@pytest.mark.parametrize("uri, sentence", [
    ("mongodb+srv://db.test/", "the host of a mongodb+srv:// URI needs at least three parts, as in db.example.com"),
    ("mongodb+srv://set.db.test:27017/", "a mongodb+srv:// URI names one host, without a port"),
    ("mongodb+srv://set.db.test/?directConnection=true", "directConnection=true does not go with mongodb+srv://"),
])
def test_mistakes_of_the_uri_are_found_by_check(tmp_path, uri, sentence):
    path = tmp_path / "holdfast.yaml"
    path.write_text(f'connections: [{{id: a, type: mongodb, listen: 127.0.0.1:27018, upstream: "{uri}"}}]\n')
    done = run_binary("check", "-c", str(path))
    assert done.returncode == 2 and sentence in done.stdout + done.stderr
