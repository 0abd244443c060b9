"""Row 14: commands that concern one member's cursors and operations, or the sessions of all members."""

import pytest
from bson import Int64
from pymongo import MongoClient
from pymongo.errors import CursorNotFound, OperationFailure
from pymongo.read_preferences import Secondary

from support.holdfast import Background
from support.mongo_listener import WatchedClient
from support.waiting import wait_for


@pytest.fixture
def model(fresh_set):
    return fresh_set


@pytest.fixture
def start(model, start_holdfast):
    def begin(**options):
        proxy = start_holdfast(model.uri(), connection={"type": "mongodb"})
        one = WatchedClient(proxy.port, **options)
        proxy.clients.append(one)
        one.collection.insert_many([{"_id": number, "n": 0} for number in range(30)])
        model.wait_for(model.settled, what="members in step")
        return one
    return begin


def things(client, preference=None):
    return client.client.test.get_collection("things", read_preference=preference)


def run(client, command, **keys):
    return client.client.admin.command(command, **keys)


def operations(client, preference):
    return [one["opid"] for one in run(client, "currentOp", read_preference=preference)["inprog"] if "find" in one["command"]]


def block(model, members, command):
    """The command stays under way there, until somebody ends it."""
    for member in members:
        with MongoClient(model.members[member], directConnection=True) as direct:
            direct.admin.command("configureFailPoint", "failCommand", mode={"times": 1},
                                 data={"failCommands": [command], "blockConnection": True, "blockTimeMS": 20_000})


def test_cursors_of_two_members_are_killed_by_one_command(start):
    client = start()
    cursors = [things(client).find(batch_size=5), things(client, Secondary()).find(batch_size=5)]
    numbers = [next(cursor) and cursor.cursor_id for cursor in cursors]
    answer = client.client.test.command({"killCursors": "things", "cursors": [Int64(each) for each in [*numbers, 4711]]})
    assert sorted(answer["cursorsKilled"]) == sorted(numbers)
    assert (answer["cursorsNotFound"], answer["cursorsAlive"], answer["cursorsUnknown"]) == ([4711], [], [])
    for cursor in cursors:
        with pytest.raises(CursorNotFound):
            list(cursor)


def test_of_two_members_one_that_has_died_has_none(model, start):
    client = start()
    cursors = [things(client).find(batch_size=5), things(client, Secondary()).find(batch_size=5)]
    numbers = [next(cursor) and cursor.cursor_id for cursor in cursors]
    model.do("kill")
    answer = client.client.test.command({"killCursors": "things", "cursors": [Int64(each) for each in numbers]})
    assert (answer["cursorsKilled"], answer["cursorsNotFound"]) == ([numbers[1]], [numbers[0]])


@pytest.mark.parametrize("members", [1, 2])
def test_cursors_are_killed_although_the_connection_was_cut_before(model, start, members):
    client = start()
    cursors = [things(client).find(batch_size=5), things(client, Secondary()).find(batch_size=5)][:members]
    numbers = [next(cursor) and cursor.cursor_id for cursor in cursors]
    with MongoClient(model.members[model.primary()], directConnection=True) as direct:
        direct.admin.command("configureFailPoint", "failCommand", mode={"times": 1},
                             data={"failCommands": ["killCursors"], "closeConnection": True})
    answer = client.client.test.command({"killCursors": "things", "cursors": [Int64(each) for each in numbers]})
    assert sorted(answer["cursorsKilled"]) == sorted(numbers), answer
    assert sum(one["cursors"] for one in model.state()["members"]) == 0


@pytest.mark.parametrize("command", ["killSessions", "killAllSessions"])
def test_a_killed_session_has_no_cursor_on_any_member(model, start, command):
    client = start()
    with client.client.start_session() as session:
        cursors = [things(client, preference).find(batch_size=5, session=session) for preference in (None, Secondary())]
        for cursor in cursors:
            next(cursor)
        with MongoClient("127.0.0.1", client.client.address[1]) as other:
            other.admin.command({command: [session.session_id] if command == "killSessions" else []})
        for cursor in cursors:
            with pytest.raises(CursorNotFound):
                list(cursor)


def test_a_member_that_refuses_is_heard(model, start):
    client = start()
    secondary = next(number for number, one in enumerate(model.state()["members"]) if one["role"] == "secondary")
    with MongoClient(model.members[secondary], directConnection=True) as direct:
        direct.admin.command("configureFailPoint", "failCommand", mode={"times": 1}, data={"failCommands": ["killAllSessions"], "errorCode": 13})
    with pytest.raises(OperationFailure) as error:
        run(client, {"killAllSessions": []})
    assert error.value.code == 13
    assert run(client, {"killAllSessions": []})["ok"] == 1


def test_a_write_that_got_a_session_of_ours_is_ended_with_its_clients_session(model, start):
    client = start(retryWrites=False)
    model.do("hold_replication")  # so that it waits for a majority
    with client.client.start_session() as session:
        write = Background(lambda: things(client).update_one({"_id": 1}, {"$inc": {"n": 1}}, session=session))
        wait_for(lambda: "update" in model.state(model.primary())["operations"], what="the write under way")
        run(client, {"killSessions": [session.session_id]})
        with pytest.raises(OperationFailure) as error:
            write.result()
        assert error.value.code == 11601


def test_an_operation_is_killed_at_the_member_that_listed_it(model, start):
    client = start()
    block(model, range(3), "find")
    read = Background(lambda: list(things(client, Secondary()).find()))
    found = wait_for(lambda: operations(client, Secondary()), what="the read under way")
    assert run(client, {"killOp": 1, "op": found[0]})["ok"] == 1
    with pytest.raises(OperationFailure) as error:
        read.result()
    assert error.value.code == 11601


def test_an_operation_whose_member_has_died_is_not_looked_for_elsewhere(model, start):
    client = start()
    block(model, [model.primary()], "find")
    read = Background(lambda: list(things(client).find()))
    found = wait_for(lambda: operations(client, None), what="the read under way")
    model.do("kill")
    assert len(read.result()) == 30
    with pytest.raises(OperationFailure) as error:
        run(client, {"killOp": 1, "op": found[0]})
    assert error.value.code == 6 and "cannot be asked" in error.value.details["errmsg"]
