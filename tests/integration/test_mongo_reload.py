"""What a reload and the admin port change of a MongoDB connection applies at once."""

import time

import pytest

from support.mongo import ModelSet
from support.waiting import wait_for

SLOW = {"reconnect": {"hang_timeout": "60s"}, "health": {"interval": "60s", "failures": 1}}


@pytest.fixture
def model():
    """A member that is alone elects nobody, which would tell of the other's end."""
    with ModelSet("--members", 2) as one:
        yield one


def by_reload(proxy):
    proxy.connection_config["reconnect"] = {"hang_timeout": "500ms"}
    proxy.write_config()
    proxy.reload()


def by_admin(proxy):
    status, text = proxy.admin("/api/v1/config", {"reconnect": {"hang_timeout": "500ms"}}, method="PATCH")
    assert status == 200, text


def waits(model, member):
    """Does the monitor wait for news? Whoever says hello before it does so is done by then."""
    before = model.state(member)["commands"].get("isMaster", 0)
    time.sleep(1)
    return before >= 3 and model.state(member)["commands"]["isMaster"] == before


@pytest.mark.parametrize("change", [by_reload, by_admin])
def test_a_shorter_hang_timeout_holds_for_the_answer_that_a_monitor_waits_for(model, start_holdfast, change):
    proxy = start_holdfast(model.uri(), connection={"type": "mongodb", **SLOW})
    primary = model.primary()
    wait_for(lambda: waits(model, primary), what="a monitor that waits for news")
    model.do("freeze", member=primary)
    change(proxy)
    proxy.wait_for_log("connection lost to main", deadline=25)  # hellos wait for ten seconds
