"""PyMongo straight on the model: other kinds of servers than a set, and servers that want a login."""

import pytest
from bson import Binary, Int64
from pymongo import MongoClient
from pymongo.errors import OperationFailure
from pymongo.write_concern import WriteConcern

from support.mongo import ModelSet

pytestmark = pytest.mark.fault_free
MAJORITY = WriteConcern("majority")


def test_it_ends_without_a_word_while_somebody_drives_it():
    model = ModelSet("--standalone")
    model.do("state")
    model.process.terminate()
    model.process.wait(5)
    model.close()
    assert not model.problems


class Test_other_kinds:
    def test_a_standalone_refuses_transaction_numbers(self):
        with ModelSet("--standalone") as alone, MongoClient(alone.uri()) as client:
            client.test.c.insert_one({"_id": 1})
            with client.start_session() as session, pytest.raises(OperationFailure) as error:
                client.test.command("insert", "c", documents=[{"_id": 2}], txnNumber=Int64(1), session=session)
            assert error.value.code == 20

    def test_a_mongos_hides_a_kill_from_a_retryable_write(self):
        with ModelSet("--mongos", 2) as sharded, MongoClient("mongodb://" + ",".join(sharded.mongos)) as client:
            client.test.c.insert_one({"_id": 1, "n": 0})
            assert client.topology_description.topology_type_name == "Sharded"
            sharded.do("kill")
            client.test.c.update_one({"_id": 1}, {"$inc": {"n": 1}})
            assert client.test.c.find_one()["n"] == 1
            with client.start_session() as session:
                session.with_transaction(lambda inner: client.test.c.update_one({"_id": 1}, {"$inc": {"n": 1}}, session=inner))
            assert len(list(client.test.c.find(batch_size=1))) == 1


class Test_logins:
    @pytest.fixture(scope="class")
    def guarded(self):
        with ModelSet("--members", 3, "--user", "admin:root:secret:root", "--user", "admin:app:pässword:readWrite") as model:
            yield model
        assert not model.problems, model.problems

    @pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1", "SCRAM-SHA-256", "DEFAULT"])
    def test_a_password_opens_every_member(self, guarded, mechanism):
        with MongoClient(guarded.uri(), username="app", password="pässword", authMechanism=mechanism) as client:
            client.test.get_collection("c", write_concern=MAJORITY).insert_one({})
            assert client.admin.command("connectionStatus")["authInfo"]["authenticatedUsers"] == [{"user": "app", "db": "admin"}]
            guarded.do("step_down", seconds=0.1, catch_up=0.1)
            assert client.test.c.count_documents({}) >= 1

    def test_a_wrong_password_and_an_unknown_user_look_the_same(self, guarded):
        said = []
        for name, password in (("app", "wrong"), ("nobody", "wrong")):
            with MongoClient(guarded.uri(), username=name, password=password) as client, pytest.raises(OperationFailure) as error:
                client.admin.command("listDatabases")
            said.append((error.value.code, error.value.details["errmsg"]))
        assert said == [(18, "Authentication failed.")] * 2

    def test_without_a_login_only_the_door_answers(self, guarded):
        with MongoClient(guarded.uri()) as client:
            assert client.admin.command("ping")["ok"] == 1.0
            with pytest.raises(OperationFailure) as error:
                client.test.c.find_one()
            assert error.value.code == 13

    def test_a_user_sees_its_own_verifier_and_an_administrator_all(self, guarded):
        with MongoClient(guarded.uri(), username="app", password="pässword") as client:
            own = client.admin.command("usersInfo", "app", showCredentials=True)["users"][0]["credentials"]
            assert set(own) == {"SCRAM-SHA-1", "SCRAM-SHA-256"}
            assert set(own["SCRAM-SHA-256"]) == {"iterationCount", "salt", "storedKey", "serverKey"}
            with pytest.raises(OperationFailure) as error:
                client.admin.command("usersInfo", "root", showCredentials=True)
            assert error.value.code == 13
        with MongoClient(guarded.uri(), username="root", password="secret") as client:
            assert client.admin.command("usersInfo", "app", showCredentials=True)["users"][0]["credentials"] == own

    def test_a_password_can_be_changed(self, guarded):
        with MongoClient(guarded.uri(), username="root", password="secret") as client:
            client.admin.command("createUser", "late", pwd="one", roles=["readWrite"], mechanisms=["SCRAM-SHA-256"])
            client.admin.command("updateUser", "late", pwd="two")
        with MongoClient(guarded.uri(), username="late", password="two") as client:
            client.test.c.find_one()

    def test_the_same_session_of_two_users_is_two_sessions(self, guarded):
        lsid = {"id": Binary(b"s" * 16, 4)}
        for name, password in (("root", "secret"), ("app", "pässword")):
            with MongoClient(guarded.uri(), username=name, password=password) as client:
                client.test.command("insert", "two", documents=[{}], lsid=lsid, txnNumber=Int64(1))
        with MongoClient(guarded.uri(), username="root", password="secret") as client:
            assert client.test.two.count_documents({}) == 2
