"""SecantusDB says topologyVersion, setName, electionId and MongoDB 8.2 of itself, and forgets with its process which writes it has executed:
through holdfast it is sent nothing twice but reads, and says by name what it is."""

import random
import time
from contextlib import closing

import pytest
from pymongo.errors import OperationFailure

from support.holdfast import Background
from support.mongo_listener import WatchedClient
from support.secantus import Secantus, why_not
from support.untrusted import INCREMENT, NUMBERED, Link, Marker, Markers, is_unknown
from support.waiting import wait_for

CLIENTS, LOSSES = 3, 6


@pytest.fixture(scope="module")
def module_server():
    if reason := why_not():
        pytest.skip(reason)
    with closing(Secantus()) as one:
        yield one


@pytest.fixture
def server(module_server):
    """Running, and empty."""
    if module_server.process.poll() is not None:
        module_server.start()
    with module_server.client() as direct:
        direct.drop_database("test")
    return module_server


@pytest.fixture
def link(server, start_holdfast):
    with closing(Link(server, start_holdfast, WatchedClient, "?directConnection=true", max_retries=1000)) as one:
        yield one


def stored(server):
    """What the server has, by its own word."""
    with server.client() as direct:
        return list(direct.test.things.find())


def lose_after_execution(server, link, write, executed):
    """The answer to this write is lost, and with it the process: what the next one is sent is new to it. The error the write ends with."""
    link.relay.refuse()
    link.cut()
    waiting = Background(write)
    wait_for(lambda: executed(stored(server)), what="a write that was executed")
    server.kill()
    server.start()
    link.relay.refuse(False)
    return waiting.error(OperationFailure)


def test_its_next_process_executes_a_number_again(server):
    """Which is why none may be sent to it twice."""
    with server.client() as direct:
        direct.test.things.insert_one({"_id": 1, "n": 0})
        for _ in range(2):
            direct.test.command(NUMBERED)
        assert direct.test.things.find_one() == {"_id": 1, "n": 1}
        server.kill()
        server.start()
        direct.test.command(NUMBERED)
        assert direct.test.things.find_one() == {"_id": 1, "n": 2}


def test_it_is_shown_by_its_name(link):
    wait_for(lambda: link.proxy.state()["capabilities"]["members"], what="the member")
    shown = link.proxy.state()["capabilities"]
    assert (shown["kind"], shown["deduplicates"]) == ("replica_set", False)
    assert [(one["product"], one["reason"]) for one in shown["members"]] == [("SecantusDB", "SecantusDB is not known to know writes again")]


@pytest.mark.parametrize("retry", [True, False], ids=["numbered-by-the-driver", "not-numbered"])
@pytest.mark.parametrize("write, there", [
    (lambda things: things.update_one({"_id": 1}, INCREMENT), [{"_id": 1, "n": 1}]),
    (lambda things: things.find_one_and_update({"_id": 1}, INCREMENT), [{"_id": 1, "n": 1}]),
    (lambda things: things.insert_one({"_id": 2}), [{"_id": 1, "n": 0}, {"_id": 2}]),
], ids=["update", "findAndModify", "insert"])
def test_a_write_that_was_executed_before_a_kill_is_told_as_unknown_and_not_doubled(server, link, write, there, retry):
    client = link.client(retryWrites=retry)
    client.collection.insert_one({"_id": 1, "n": 0})
    error = lose_after_execution(server, link, lambda: write(client.collection), lambda things: things == there)
    assert is_unknown(error), error
    assert stored(server) == there
    assert client.collection.find_one({"_id": 1}) == there[0]


def test_a_number_of_the_clients_own_does_not_make_a_write_one_to_repeat(server, link):
    client = link.client()
    client.collection.insert_one({"_id": 1, "n": 0})
    error = lose_after_execution(server, link, lambda: client.client.test.command(NUMBERED), lambda things: things[0]["n"] == 1)
    assert is_unknown(error), error
    assert stored(server) == [{"_id": 1, "n": 1}]


def test_a_write_in_flight_at_a_kill_is_told_as_unknown(server, link):
    client = link.client()
    client.collection.insert_one({"_id": 1, "n": 0})
    server.freeze()
    write = Background(client.collection.update_one, {"_id": 1}, INCREMENT)
    link.under_way(1)
    server.kill()
    server.start()
    assert is_unknown(write.error(OperationFailure))
    assert stored(server)[0]["n"] <= 1


def test_reads_in_flight_at_a_kill_are_sent_again(server, link):
    clients = [link.client() for _ in range(3)]
    clients[0].collection.insert_many([{"_id": number} for number in range(5)])

    def read():
        return [Background(lambda: list(clients[0].collection.find())), Background(clients[1].collection.count_documents, {}),
                Background(clients[2].collection.distinct, "_id")]

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
    for client in clients:
        client.saw_nothing()


def test_what_waits_while_there_is_no_server_is_done_once(server, link):
    client = link.client()
    client.collection.insert_one({"_id": 1, "n": 0})
    server.kill()
    link.proxy.wait_for_log("connection lost to main")
    write = Background(client.collection.update_one, {"_id": 1}, INCREMENT)
    wait_for(lambda: '"waiting"' in link.proxy.admin("/api/v1/sessions")[1], what="a write that waits")
    server.start()
    write.result()
    assert client.collection.find_one() == {"_id": 1, "n": 1} == stored(server)[0]
    client.saw_nothing()


def marker(client, number):
    return Marker(lambda method, *arguments, **options: getattr(client.collection, method)(*arguments, **options), OperationFailure, number)


def test_through_kills_and_cuts_what_was_acknowledged_is_there_and_nothing_twice(server, link):
    seed = time.time_ns() % 10**6
    chance = random.Random(seed)
    with Markers([marker(link.client(), number) for number in range(CLIENTS)], seed) as markers:
        markers.go_on()
        for number in range(LOSSES):
            if number % 2:
                link.cut(chance.choice([0, chance.randrange(200)]))
            else:
                server.kill()
                server.start()
            markers.go_on()
    markers.judge(stored(server))
