"""A plugin of pytest for PyMongo's own tests when they go through holdfast: they run as on the replica set behind it, and look at the data, too.

holdfast's face is a mongos, which has the runner leave out what is meant for a replica set only; here it runs both. Of a case that sees other
commands than it expects it would not look at the outcome; here it does.
"""

# PyMongo's own `test`, in whose folder pytest is started.
from test import ClientContext
from test.unified_format import UnifiedSpecTestMixinV1 as Runner

of_its_topology, connected, scenario, events = ClientContext.is_topology_type, ClientContext._connect, Runner._run_scenario, Runner.check_events


def is_topology_type(self, topologies):
    return of_its_topology(self, topologies) or (self.is_mongos and "replicaset" in topologies)


def anywhere(self, case):
    """A case for a replica set, or for no mongos."""
    return case


def with_secondaries(self, count):
    return lambda case: case


def connect(self, *address, **words):
    """Looks for no second mongos on the next port, which takes five seconds."""
    return None if self.is_mongos else connected(self, *address, **words)


def run_scenario(self, spec, uri=None):
    self.outcome = spec.get("outcome", [])
    scenario(self, spec, uri)


def check_events(self, spec):
    try:
        events(self, spec)
    except AssertionError:
        self.verify_outcome(self.outcome)
        raise


ClientContext.is_topology_type, ClientContext._connect = is_topology_type, connect
ClientContext.require_replica_set = ClientContext.require_no_mongos = anywhere
ClientContext.require_secondaries_count = with_secondaries
Runner._run_scenario, Runner.check_events = run_scenario, check_events
