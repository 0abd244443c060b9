"""OP_COMPRESSED toward the members, where the upstream's URI asks for it: negotiated, for every command that may be, and through losses."""

import struct
from contextlib import closing
from random import Random

import bson
import pytest
from pymongo import MongoClient

from support.mongo import ModelSet
from support.mongo_listener import WatchedClient
from support.mongo_raw import RawClient
from support.waiting import wait_for

PASSWORD = "apppw-5eaf00d"


@pytest.fixture(scope="module")
def model():
    with ModelSet("--members", 3, "--user", f"admin:app:{PASSWORD}:root") as one:
        yield one
    assert "Traceback" not in one.problems, one.problems


def compressed(model):
    """Requests that came compressed, by compressor, of all members."""
    sums = {}
    for member in model.state()["members"]:
        for name, count in member["compressed"].items():
            sums[name] = sums.get(name, 0) + count
    return sums


def upstream(model, **options):
    return model.uri(**options).replace("mongodb://", f"mongodb://app:{PASSWORD}@")


def test_the_model_speaks_each_of_them_with_a_driver_alone(model):
    for name in ("zstd", "zlib", "snappy"):
        before = compressed(model).get(name, 0)
        with MongoClient(model.uri(compressors=name), username="app", password=PASSWORD) as client:
            client.test.things.insert_one({"filler": "x" * 1000})
            assert client.test.things.find_one()["filler"] == "x" * 1000
        assert compressed(model)[name] > before


@pytest.mark.parametrize("name", ["zstd", "zlib", "snappy"])
def test_what_does_not_shrink_goes_as_it_is_and_is_taken(model, start_holdfast, name):
    """Packed it would be longer than a server takes."""
    proxy = start_holdfast(upstream(model, compressors=name), connection={"type": "mongodb", "auth": "trust"})
    random = Random(1)
    documents = [bson.encode({"_id": number, "noise": random.randbytes(15_990_000)}) for number in range(3)]
    section = b"documents\0" + b"".join(documents)
    command = bson.encode({"insert": "noise", "$db": "test", "comment": b""})
    short = 47_999_990 - (16 + 4 + 1 + len(command) + 1 + 4 + len(section))
    command = bson.encode({"insert": "noise", "$db": "test", "comment": random.randbytes(short)})
    content = bytes(5) + command + b"\1" + struct.pack("<i", 4 + len(section)) + section
    with RawClient(proxy.port) as client:
        client.ask({"drop": "noise", "$db": "test"})
        client.socket.sendall(struct.pack("<iiii", 16 + len(content), 7, 0, 2013) + content)
        assert client.answer()["n"] == 3
        client.ask({"drop": "noise", "$db": "test"})


@pytest.mark.parametrize("options, used", [
    ({"compressors": "zstd,zlib"}, "zstd"), ({"compressors": "zlib,zstd", "zlibCompressionLevel": 9}, "zlib"), ({"compressors": "snappy"}, "snappy"),
])
def test_everything_goes_compressed_and_survives_the_loss_of_the_primary(model, start_holdfast, options, used):
    before = compressed(model)
    proxy = start_holdfast(upstream(model, **options), connection={"type": "mongodb", "auth": "scram"})
    proxy.secrets.add(PASSWORD)
    with closing(WatchedClient(proxy.port, username="app", password=PASSWORD)) as watched:
        watched.collection.drop()
        watched.collection.insert_many([{"_id": number, "filler": f"{number} " * 50_000} for number in range(20)])
        assert [one["filler"] for one in watched.collection.find().sort("_id", 1)] == [f"{number} " * 50_000 for number in range(20)]
        old = model.primary()
        model.do("kill", how="rst")
        assert watched.collection.update_one({"_id": 1}, {"$set": {"filler": "changed"}}).modified_count == 1
        watched.unsafe.insert_one({"_id": "unacknowledged"})
        wait_for(lambda: watched.collection.find_one({"_id": "unacknowledged"}), what="the unacknowledged write")
        wait_for(lambda: model.primary() not in (None, old), what="another primary")
        model.do("start", member=old)
        watched.saw_nothing()
    after = compressed(model)
    assert after[used] > before.get(used, 0) + 5
    assert {name: count for name, count in after.items() if name != used} == {name: count for name, count in before.items() if name != used}


@pytest.mark.parametrize("name", ["zstd", "zlib", "snappy"])
def test_a_reply_that_cannot_be_unpacked_is_a_lost_connection(model, start_holdfast, name):
    proxy = start_holdfast(upstream(model, compressors=name), connection={"type": "mongodb", "auth": "scram"})
    proxy.secrets.add(PASSWORD)
    with closing(WatchedClient(proxy.port, username="app", password=PASSWORD)) as watched:
        watched.collection.drop()
        watched.collection.insert_one({"_id": 1, "n": 0})
        model.do("set", settings={"broken_replies": 2})
        assert watched.collection.find_one({"_id": 1})["n"] == 0
        model.do("set", settings={"broken_replies": 2})
        watched.collection.update_one({"_id": 1}, {"$inc": {"n": 1}})
        assert watched.collection.find_one({"_id": 1})["n"] == 1
        watched.saw_nothing()


def test_nothing_is_compressed_where_it_is_not_asked_for(model, start_holdfast):
    before = compressed(model)
    proxy = start_holdfast(upstream(model), connection={"type": "mongodb", "auth": "scram"})
    proxy.secrets.add(PASSWORD)
    with closing(WatchedClient(proxy.port, username="app", password=PASSWORD)) as watched:
        watched.collection.find_one()
        watched.saw_nothing()
    assert compressed(model) == before


def test_clients_are_offered_none_and_a_driver_that_wants_it_is_served_without(model, start_holdfast):
    proxy = start_holdfast(upstream(model, compressors="zlib"), connection={"type": "mongodb", "auth": "scram"})
    proxy.secrets.add(PASSWORD)
    with closing(WatchedClient(proxy.port, username="app", password=PASSWORD, compressors="zlib,zstd,snappy")) as watched:
        assert "compression" not in watched.client.admin.command("hello")
        watched.collection.find_one()
        watched.saw_nothing()


def test_users_are_made_without_compression(model, start_holdfast):
    """The model ends a connection on which what carries a password comes compressed."""
    proxy = start_holdfast(upstream(model, compressors="zstd"), connection={"type": "mongodb", "auth": "scram"})
    proxy.secrets.add(PASSWORD)
    with closing(WatchedClient(proxy.port, username="app", password=PASSWORD)) as watched:
        watched.client.test.command("createUser", "made", pwd="secret", roles=["readWrite"])
        watched.client.test.command("dropUser", "made")
        watched.saw_nothing()
