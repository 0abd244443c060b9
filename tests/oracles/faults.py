"""The faults, how often each, and a schedule of them from one seed."""

# Name: (weight, what is done with the stage and the schedule's random numbers).
FAULTS = {
    "kill -9 of the server": (3, lambda stage, random: stage.restart("kill9", random.uniform(0, 1))),
    "kill -9 of all its processes": (3, lambda stage, random: stage.restart("kill9_all", random.uniform(0, 1))),
    "kill -9 of a backend": (3, lambda stage, random: stage.kill_backend(random)),
    "fast shutdown": (3, lambda stage, random: stage.restart("fast", random.uniform(0, 1))),
    "immediate shutdown": (3, lambda stage, random: stage.restart("immediate", random.uniform(0, 1))),
    "failover to the standby": (2, lambda stage, random: stage.fail_over(random.uniform(0, 1))),
    "partition that heals": (2, lambda stage, random: stage.partition(random.uniform(0.2, 4), True)),
    "partition, then cut": (2, lambda stage, random: stage.partition(random.uniform(0.2, 4), False)),
    "frozen server": (1, lambda stage, random: stage.freeze(random.uniform(0.2, 4))),
    "crash while commits wait for the standby": (2, lambda stage, random: stage.crash_while_commits_wait(random.uniform(0, 0.5))),
    "cut connections": (2, lambda stage, random: stage.cut(random.random() < 0.5)),
    "cut after random bytes of answers": (4, lambda stage, random: stage.cut_after(random.randrange(4000), "to_client")),
    "cut after random bytes of requests": (2, lambda stage, random: stage.cut_after(random.randrange(4000), "to_server")),
}


def schedule(random):
    """Names without end: every kind once in random order, then by weight."""
    names = list(FAULTS)
    random.shuffle(names)
    yield from names
    while True:
        yield random.choices(names, [FAULTS[name][0] for name in names])[0]
