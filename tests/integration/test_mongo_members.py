"""Members that the URI does not name, members that fall behind or away, and reads that go where their read preference says."""

from collections import Counter
from contextlib import closing

import pytest
from bson import Binary, Int64
from pymongo import MongoClient, ReadPreference
from pymongo.errors import OperationFailure
from pymongo.read_preferences import Nearest, Secondary, SecondaryPreferred
from pymongo.write_concern import WriteConcern

from support.mongo import ModelSet
from support.mongo_listener import WatchedClient
from support.mongo_raw import RawClient
from support.relay import Relay
from support.waiting import wait_for


@pytest.fixture
def model(fresh_set):
    return fresh_set


def other_primary(model, old):
    model.wait_for(lambda: model.primary() not in (None, old), what="another primary")


def serve(start_holdfast, uri, **more):
    return start_holdfast(uri, connection={"type": "mongodb", "reconnect": {"hang_timeout": "500ms", **more}})


def finds(model):
    return [one["commands"].get("find", 0) for one in model.state()["members"]]


def roles(model):
    return [one["role"] for one in model.state()["members"]]


def test_one_member_in_the_uri_is_enough_to_find_the_others_when_it_dies(model, start_holdfast):
    seed = model.primary()
    proxy = serve(start_holdfast, f"mongodb://{model.members[seed]}/?replicaSet={model.name}")
    with closing(WatchedClient(proxy.port)) as watched:
        watched.collection.insert_one({"_id": 1})
        model.do("kill", member=seed, how="rst")
        watched.collection.insert_one({"_id": 2})
        other_primary(model, seed)
        assert watched.collection.count_documents({}) == 2
        watched.saw_nothing()
    assert {one["address"] for one in proxy.state()["endpoints"]} == set(model.members)


def test_a_secondary_in_the_uri_leads_to_the_primary(model, start_holdfast):
    secondary = roles(model).index("secondary")
    proxy = serve(start_holdfast, f"mongodb://{model.members[secondary]}/?replicaSet={model.name}")
    with MongoClient("127.0.0.1", proxy.port, w="majority") as client:
        client.test.things.insert_one({"_id": 1})
    assert proxy.state()["upstream"] == model.members[model.primary()]


def test_reads_go_to_secondaries_where_the_client_wants_that_and_to_the_primary_otherwise(model, start_holdfast):
    proxy = serve(start_holdfast, model.uri())
    with closing(WatchedClient(proxy.port)) as watched:
        watched.collection.insert_one({"_id": 1})
        for preference, allowed in ((Secondary(), {"secondary"}), (SecondaryPreferred(), {"secondary"}), (Nearest(), {"primary", "secondary"}),
                                    (ReadPreference.PRIMARY, {"primary"}), (ReadPreference.PRIMARY_PREFERRED, {"primary"})):
            before = Counter(dict(enumerate(finds(model))))
            for _ in range(20):
                assert watched.collection.with_options(read_preference=preference).find_one({"_id": 1})
            asked = Counter(dict(enumerate(finds(model)))) - before
            assert sum(asked.values()) == 20
            assert {roles(model)[member] for member in asked} <= allowed, (preference, asked)
        watched.saw_nothing()


def test_a_cursor_on_a_secondary_goes_on_there(model, start_holdfast):
    proxy = serve(start_holdfast, model.uri())
    with closing(WatchedClient(proxy.port)) as watched:
        watched.collection.insert_many([{"_id": number} for number in range(50)])
        read = watched.collection.with_options(read_preference=Secondary())
        assert len(list(read.find(batch_size=7))) == 50
        watched.saw_nothing()


def test_a_read_outlives_the_secondary_that_it_was_sent_to(model, start_holdfast):
    proxy = serve(start_holdfast, model.uri())
    with closing(WatchedClient(proxy.port)) as watched:
        watched.collection.insert_one({"_id": 1})
        read = watched.collection.with_options(read_preference=Secondary())
        for victim in [number for number, role in enumerate(roles(model)) if role == "secondary"]:
            model.do("kill", member=victim, how="rst")
            for _ in range(5):
                assert read.find_one({"_id": 1})
            model.do("start", member=victim)
            model.wait_for(lambda: roles(model).count("secondary") == 2, what="two secondaries")
        watched.saw_nothing()


def test_secondary_reads_wait_for_a_secondary_and_say_so_in_the_end(model, start_holdfast):
    proxy = serve(start_holdfast, model.uri(), hold_timeout="1s")
    with MongoClient("127.0.0.1", proxy.port) as client:
        things = client.test.things
        things.insert_one({"_id": 1})
        read = things.with_options(read_preference=Secondary())
        assert read.find_one({"_id": 1})
        for victim in [number for number, role in enumerate(roles(model)) if role == "secondary"]:
            model.do("role", member=victim, role="recovering")
        with pytest.raises(OperationFailure) as raised:
            read.find_one({"_id": 1})
        assert raised.value.code in (133, 462), raised.value.details


def test_tags_and_staleness_that_no_member_meets_are_an_error_and_nonsense_is_one_at_once(model, start_holdfast):
    proxy = serve(start_holdfast, model.uri(), hold_timeout="1s")
    with MongoClient("127.0.0.1", proxy.port) as client:
        for preference in (Secondary(tag_sets=[{"dc": "nowhere"}]), Nearest(tag_sets=[{"dc": "nowhere"}])):
            with pytest.raises(OperationFailure) as raised:
                client.test.things.with_options(read_preference=preference).find_one()
            assert raised.value.code in (133, 462), raised.value.details
        command = {"find": "things", "$readPreference": {"mode": "secondary", "maxStalenessSeconds": 5}}
        with pytest.raises(OperationFailure, match="maxStalenessSeconds") as raised:
            client.test.command(command)
        assert raised.value.code == 160
        assert client.test.things.with_options(read_preference=Secondary(tag_sets=[{"dc": "nowhere"}, {}])).find_one() is None


def test_a_step_down_is_noticed_although_no_client_asks_anything(model, start_holdfast):
    proxy = serve(start_holdfast, model.uri())
    old = model.primary()
    model.do("step_down")
    other_primary(model, old)
    wait_for(lambda: proxy.state()["isConnected"] and proxy.state()["upstream"] == model.members[model.primary()], deadline=5.0,
             what="the new primary as the upstream")


@pytest.fixture
def sharded():
    with ModelSet("--members", 3, "--mongos", 2) as one:
        yield one
    assert "Traceback" not in one.problems, one.problems


def test_behind_two_mongos_the_death_of_either_is_not_seen(sharded, start_holdfast):
    proxy = serve(start_holdfast, f"mongodb://{','.join(sharded.mongos)}/")
    with closing(WatchedClient(proxy.port)) as watched:
        watched.collection.insert_one({"_id": 1, "n": 0})
        for number in (1, 2):
            victim = proxy.state()["upstream"]
            sharded.do("kill", member=victim, how="rst")
            assert watched.collection.update_one({"_id": 1}, {"$inc": {"n": 1}}).modified_count == 1
            assert watched.collection.with_options(read_preference=SecondaryPreferred()).find_one({"_id": 1})
            with watched.client.start_session() as session:
                session.with_transaction(lambda within: watched.collection.update_one({"_id": 1}, {"$inc": {"n": 1}}, session=within))
            sharded.do("start", member=victim)
            assert watched.collection.find_one({"_id": 1})["n"] == 2 * number
        watched.saw_nothing()


def test_a_mongos_that_found_no_primary_in_the_end_may_have_sent_it_before(sharded, start_holdfast):
    proxy = serve(start_holdfast, f"mongodb://{','.join(sharded.mongos)}/")
    with closing(WatchedClient(proxy.port)) as watched:
        watched.collection.insert_one({"_id": 1, "n": 0})
        sharded.do("answer_instead", member="primary", commands=["findAndModify"], times=1, code=133, form="top")
        assert watched.collection.find_one_and_update({"_id": 1}, {"$inc": {"n": 1}})["n"] == 0
        sharded.do("answer_instead", member="primary", commands=["commitTransaction"], times=1, code=133, form="top")
        with watched.client.start_session() as session, session.start_transaction():
            watched.collection.update_one({"_id": 1}, {"$inc": {"n": 1}}, session=session)
        assert watched.collection.find_one({"_id": 1})["n"] == 2
        watched.saw_nothing()


@pytest.mark.parametrize("ending", ["commitTransaction", "abortTransaction"])
def test_a_transaction_is_ended_at_the_mongos_that_has_it(sharded, start_holdfast, ending):
    """Any other one knows nothing of it, as long as no recoveryToken says where it is; the locks would stay for a minute."""
    proxy = serve(start_holdfast, f"mongodb://{','.join(sharded.mongos)}/")
    with MongoClient("127.0.0.1", proxy.port) as client, MongoClient(sharded.mongos[0]) as direct, RawClient(proxy.port) as speak:
        client.test.things.insert_one({"_id": 1, "n": 0})
        begun = proxy.state()["upstream"]
        lsid = {"id": Binary(bytes(16), 4)}
        fields = {"lsid": lsid, "txnNumber": Int64(1), "autocommit": False}
        assert speak.ask({"insert": "things", "documents": [{"_id": 2}], "startTransaction": True, **fields, "$db": "test"})["ok"] == 1
        sharded.do("freeze", member=begun)
        assert client.test.things.find_one({"_id": 1}), "which shows that it hangs"
        wait_for(lambda: proxy.state()["isConnected"] and proxy.state()["upstream"] != begun, what="the other mongos")
        sharded.do("thaw", member=begun, silent=0)
        answer = speak.ask({ending: 1, **fields, "$db": "admin"})
        assert answer["ok"] == 1, answer
        assert direct.test.things.count_documents({}) == (2 if ending == "commitTransaction" else 1)
        wait_for(lambda: not any(one.get("transactions") for one in sharded.state()["members"]), what="its end")


@pytest.mark.parametrize("concern,expected", [("majority", 2), (1, 1)])
def test_a_transaction_that_only_read_has_nothing_to_recover_at_another_mongos(sharded, start_holdfast, concern, expected):
    """Its recoveryToken is empty, and so PyMongo sends none."""
    proxy = serve(start_holdfast, f"mongodb://{','.join(sharded.mongos)}/")
    with closing(WatchedClient(proxy.port)) as watched:
        watched.collection.insert_one({"_id": 1})
        runs = []

        def body(session):
            runs.append(watched.collection.find_one({"_id": 1}, session=session))
            if len(runs) == 1:
                sharded.do("kill", member=proxy.state()["upstream"])

        with watched.client.start_session() as session:
            session.with_transaction(body, write_concern=WriteConcern(concern))
        assert runs == [{"_id": 1}] * expected


def test_a_transaction_whose_first_statement_a_shard_refused_runs_again(sharded, start_holdfast):
    """The mongos has begun it and would not begin it twice (117, which no driver repeats)."""
    proxy = serve(start_holdfast, f"mongodb://{','.join(sharded.mongos)}/")
    with closing(WatchedClient(proxy.port)) as watched, sharded.direct(sharded.primary()) as shard:
        watched.collection.insert_one({"_id": 1})
        shard.admin.command("configureFailPoint", "failCommand", mode={"times": 1}, data={"failCommands": ["insert"], "errorCode": 10107})
        runs = []

        def body(session):
            runs.append(watched.collection.insert_one({"_id": 2}, session=session))

        with watched.client.start_session() as session:
            session.with_transaction(body)
        assert len(runs) == 1, "the first run ended at its insert"
        assert watched.collection.count_documents({}) == 2


def test_what_a_mongos_hides_of_a_lost_shard_is_sent_again_and_counts_once(sharded, start_holdfast):
    proxy = serve(start_holdfast, f"mongodb://{','.join(sharded.mongos)}/")
    with closing(WatchedClient(proxy.port)) as watched:
        watched.collection.insert_one({"_id": 1, "n": 0})
        for code in (6, 189, 11602):
            sharded.do("answer_instead", member="primary", commands=["update"], times=3, code=code, form="writeErrors")
            assert watched.collection.update_one({"_id": 1}, {"$inc": {"n": 1}}).acknowledged
        assert watched.collection.find_one({"_id": 1})["n"] == 3
        watched.saw_nothing()


def port_of(model):
    return int(model.members[0].rpartition(":")[2])


def test_a_connection_to_a_server_that_is_none_of_the_set_is_not_used(start_holdfast):
    """What the address stands for has changed under the connections that are open (a name, a virtual address, a port that is forwarded)."""
    with ModelSet("--members", 1) as model, ModelSet("--standalone") as other, closing(Relay(port_of(model))) as relay:
        uri = f"mongodb://127.0.0.1:{relay.port}/?replicaSet={model.name}&directConnection=true"
        proxy = start_holdfast(uri, connection={"type": "mongodb", "pool_max": 1, "pool_idle_timeout": "3s",
                                                "reconnect": {"hold_timeout": "2s"}})
        client = MongoClient("127.0.0.1", proxy.port, retryWrites=False)
        proxy.clients.append(client)
        client.test.things.insert_one({"_id": 1})
        relay.target_port = port_of(other)
        open_then = model.state(0)["connections"]
        wait_for(lambda: model.state(0)["connections"] < open_then, what="the end of the idle connection")
        with pytest.raises(OperationFailure):
            client.test.things.insert_one({"_id": 2})
        with MongoClient(other.members[0], directConnection=True) as stranger:
            assert stranger.test.things.count_documents({}) == 0, "neither with a number nor without"
        relay.target_port = port_of(model)
        client.test.things.insert_one({"_id": 3})
