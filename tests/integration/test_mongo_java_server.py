"""A standalone server is sent nothing twice but reads: on mongo-java-server, which takes a txnNumber and looks at nothing, and on the model."""

import collections
import random
import threading
import time
from contextlib import closing

import pytest
from bson import Binary, Int64

from support.holdfast import Background
from support.old_pymongo import OldPyMongo, Refused
from support.relay import Relay
from support.standalones import OLD_PYMONGO, JavaServer, StandaloneModel, why_not
from support.waiting import wait_for

CLIENTS, LOSSES = 4, 20
MARKS = 40  # in one document
INCREMENT = {"$inc": {"n": 1}}
NUMBERED = {"update": "things", "updates": [{"q": {"_id": 1}, "u": INCREMENT}], "lsid": {"id": Binary(b"s" * 16, 4)}, "txnNumber": Int64(1)}


@pytest.fixture(scope="module", autouse=True)
def installed():
    if reason := why_not():
        pytest.skip(reason)


@pytest.fixture(params=[JavaServer, StandaloneModel], ids=lambda one: one.name)
def server(request):
    with closing(request.param()) as one:
        yield one


@pytest.fixture
def java_server():
    with closing(JavaServer()) as one:
        yield one


class Link:
    """A proxy whose way to the server can be cut, and clients of it. Only commands are answered on that way: no check is due for long."""

    def __init__(self, server, start_holdfast):
        self.server = server
        self.relay = Relay(server.port)
        self.proxy = start_holdfast(f"mongodb://127.0.0.1:{self.relay.port}/",
                                    connection={"type": "mongodb", "health": {"interval": "60s"}, "reconnect": {"retry_delay": "100ms"}})
        self.clients = []

    def client(self):
        self.clients.append(OldPyMongo(self.proxy.port, OLD_PYMONGO))
        return self.clients[-1]

    def cut(self, answered=0):
        """The next command is executed, and so many bytes of the answer arrive."""
        self.relay.cut_after(answered)

    def under_way(self, count):
        """Waits until so many commands wait for the server."""
        wait_for(lambda: self.proxy.admin("/api/v1/sessions")[1].count('"active"') == count, what=f"{count} commands under way")

    def close(self):
        for client in self.clients:
            client.close()
        self.relay.close()


@pytest.fixture
def link(server, start_holdfast):
    with closing(Link(server, start_holdfast)) as one:
        yield one


def stored(server):
    """What the server has, by its own word."""
    with closing(OldPyMongo(server.port, OLD_PYMONGO)) as direct:
        return direct.do("find", {})


def saw_nothing(link):
    assert [client.do("noticed") for client in link.clients] == [[] for _ in link.clients]


def test_mongo_java_server_executes_a_number_as_often_as_it_comes(java_server):
    """Which is why none may be sent to it twice."""
    with closing(OldPyMongo(java_server.port, OLD_PYMONGO)) as direct:
        direct.do("insert_one", {"_id": 1, "n": 0})
        for _ in range(2):
            direct.do("command", NUMBERED)
        assert direct.do("find_one") == {"_id": 1, "n": 2}


def test_it_is_shown_as_the_standalone_that_it_is(link):
    client = link.client()
    assert client.do("kind") == ["Standalone"]
    shown = link.proxy.state()["capabilities"]
    assert (shown["kind"], shown["deduplicates"]) == ("standalone", False)
    assert [one["reason"] for one in shown["members"]] == ["a standalone server does not know writes again"]


def test_what_waits_while_there_is_no_server_is_done_once(server, link):
    client = link.client()
    client.do("insert_one", {"_id": 1, "n": 0})
    server.kill()
    link.proxy.wait_for_log("connection lost to main")
    write = Background(client.do, "update_one", {"_id": 1}, INCREMENT)
    wait_for(lambda: '"waiting"' in link.proxy.admin("/api/v1/sessions")[1], what="a write that waits")
    server.start()
    write.result()
    assert client.do("find_one") == {"_id": 1, "n": 1} == stored(server)[0]
    saw_nothing(link)


def test_reads_in_flight_at_a_kill_are_sent_again(server, link):
    clients = [link.client() for _ in range(3)]
    clients[0].do("insert_many", [{"_id": number} for number in range(5)])


    def read():
        return [Background(clients[0].do, "find", {}), Background(clients[1].do, "count_documents", {}),
                Background(clients[2].do, "distinct", "_id")]

    link.relay.delay(0.2)
    for warm in read():  # for each a connection to the server
        warm.result()
    link.relay.delay(0)
    server.freeze()
    reads = read()
    link.under_way(3)
    server.kill()
    server.start()
    assert [read.result() for read in reads] == [[{"_id": number} for number in range(5)], 5, list(range(5))]
    saw_nothing(link)


@pytest.mark.parametrize("answered", [0, 20])
def test_a_read_whose_answer_is_cut_is_sent_again(link, answered):
    client = link.client()
    client.do("insert_one", {"_id": 1})
    link.cut(answered)
    assert client.do("find", {}) == [{"_id": 1}]
    saw_nothing(link)


def test_a_write_in_flight_at_a_kill_is_told_as_unknown(server, link):
    client = link.client()
    client.do("insert_one", {"_id": 1, "n": 0})
    server.freeze()
    write = Background(client.do, "update_one", {"_id": 1}, INCREMENT)
    link.under_way(1)
    server.kill()
    server.start()
    assert unknown(write.error(Refused))
    assert stored(server)[0]["n"] <= 1
    client.do("update_one", {"_id": 1}, INCREMENT)
    saw_nothing(link)


@pytest.mark.parametrize("method, arguments, there", [
    ("update_one", [{"_id": 1}, INCREMENT], [{"_id": 1, "n": 1}]),
    ("find_one_and_update", [{"_id": 1}, INCREMENT], [{"_id": 1, "n": 1}]),
    ("insert_one", [{"_id": 2}], [{"_id": 1, "n": 0}, {"_id": 2}]),
])
def test_a_write_whose_answer_is_cut_has_happened_once_and_is_told_as_unknown(server, link, method, arguments, there):
    client = link.client()
    client.do("insert_one", {"_id": 1, "n": 0})
    link.cut()
    with pytest.raises(Refused) as error:
        client.do(method, *arguments)
    assert unknown(error.value)
    assert stored(server) == there
    saw_nothing(link)


def test_a_number_of_the_clients_own_does_not_make_a_write_one_to_repeat(java_server, start_holdfast):
    with closing(Link(java_server, start_holdfast)) as link:
        client = link.client()
        client.do("insert_one", {"_id": 1, "n": 0})
        link.cut()
        with pytest.raises(Refused) as error:
            client.do("command", NUMBERED)
        assert unknown(error.value)
        assert stored(java_server) == [{"_id": 1, "n": 1}]


def unknown(error):
    return error.code == 6 and "outcome unknown" in str(error)


class Marker:
    """Writes marks, each one once, and reads back those that were acknowledged, until it is stopped."""

    def __init__(self, client, number):
        self.client, self.number = client, number
        self.stopping = threading.Event()
        self.acknowledged, self.unknown, self.missed = [], [], []
        self.work = Background(self.run)

    def run(self):
        for step in range(10**9):
            if self.stopping.is_set():
                return
            key, mark = f"{self.number}-{step // MARKS}", f"{self.number}-{step}"
            try:
                self.client.do("update_one", {"_id": key}, {"$push": {"marks": mark}, **INCREMENT}, upsert=True)
                self.acknowledged.append(mark)
            except Refused as error:
                if not unknown(error):
                    raise
                self.unknown.append(mark)
            if step % 3 == 2:
                found = (self.client.do("find_one", {"_id": key}) or {}).get("marks", [])
                self.missed += [one for one in self.acknowledged if int(one.split("-")[1]) // MARKS == step // MARKS and one not in found]


def test_through_kills_and_cuts_what_was_acknowledged_is_there_and_nothing_twice(server, link):
    seed = time.time_ns() % 10**6
    chance = random.Random(seed)
    markers = [Marker(link.client(), number) for number in range(CLIENTS)]

    def go_on():
        before = [len(one.acknowledged) for one in markers]
        wait_for(lambda: all(len(one.acknowledged) > count or one.work.is_done for one, count in zip(markers, before)), 30.0,
                 f"a write of each client (seed {seed})")

    try:
        go_on()
        for number in range(LOSSES):
            if number % 2:
                server.kill()
                server.start()
            else:
                link.cut(chance.choice([0, chance.randrange(200)]))
            go_on()
        for _ in range(20):  # a cut may meet reads only
            if any(one.unknown for one in markers):
                break
            link.cut()
            go_on()
    finally:
        for one in markers:
            one.stopping.set()
    for one in markers:
        one.work.result()
    there = {one["_id"]: one for one in stored(server)}
    copies = collections.Counter(mark for one in there.values() for mark in one["marks"])
    acknowledged = {mark for one in markers for mark in one.acknowledged}
    uncertain = {mark for one in markers for mark in one.unknown}
    assert not [mark for mark, count in copies.items() if count > 1], f"doubled (seed {seed})"
    assert not acknowledged - set(copies), f"lost (seed {seed})"
    assert not set(copies) - acknowledged - uncertain, f"nobody was told of them (seed {seed})"
    assert not [mark for one in markers for mark in one.missed], f"read stale (seed {seed})"
    assert [one for one in there.values() if one["n"] != len(one["marks"])] == []
    assert uncertain, f"no write was interrupted (seed {seed})"
    saw_nothing(link)
