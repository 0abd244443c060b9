"""A standalone server is sent nothing twice but reads: on mongo-java-server, which takes a txnNumber and looks at nothing, and on the model."""

import random
import time
from contextlib import closing

import pytest

from support.holdfast import Background
from support.old_pymongo import OldPyMongo, Refused
from support.standalones import OLD_PYMONGO, JavaServer, StandaloneModel, why_not
from support.untrusted import INCREMENT, NUMBERED, Link, Marker, Markers, is_unknown
from support.waiting import wait_for

CLIENTS, LOSSES = 4, 20


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


def link_to(server, start_holdfast):
    return closing(Link(server, start_holdfast, lambda port: OldPyMongo(port, OLD_PYMONGO)))


@pytest.fixture
def link(server, start_holdfast):
    with link_to(server, start_holdfast) as one:
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

    link.relay.delay(1)
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
    assert is_unknown(write.error(Refused))
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
    assert is_unknown(error.value)
    assert stored(server) == there
    saw_nothing(link)


def test_a_number_of_the_clients_own_does_not_make_a_write_one_to_repeat(java_server, start_holdfast):
    with link_to(java_server, start_holdfast) as link:
        client = link.client()
        client.do("insert_one", {"_id": 1, "n": 0})
        link.cut()
        with pytest.raises(Refused) as error:
            client.do("command", NUMBERED)
        assert is_unknown(error.value)
        assert stored(java_server) == [{"_id": 1, "n": 1}]


def test_through_kills_and_cuts_what_was_acknowledged_is_there_and_nothing_twice(server, link):
    seed = time.time_ns() % 10**6
    chance = random.Random(seed)
    with Markers([Marker(link.client().do, Refused, number) for number in range(CLIENTS)], seed) as markers:
        markers.go_on()
        for number in range(LOSSES):
            if number % 2:
                server.kill()
                server.start()
            else:
                link.cut(chance.choice([0, chance.randrange(200)]))
            markers.go_on()
        for _ in range(20):  # a cut may meet reads only
            if markers.uncertain():
                break
            link.cut()
            markers.go_on()
    markers.judge(stored(server))
    assert markers.uncertain(), f"no write was interrupted (seed {seed})"
    saw_nothing(link)
