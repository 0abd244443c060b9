"""PyMongo's own listeners: they note whatever a driver would notice of a lost server, and what an application would be told."""

from pymongo import MongoClient, monitoring
from pymongo.write_concern import WriteConcern

from support.waiting import wait_for


class Noticed(monitoring.ServerHeartbeatListener, monitoring.ServerListener, monitoring.ConnectionPoolListener, monitoring.CommandListener):
    """SDAM, CMAP and command events of one client. `trouble` must stay empty while the proxy does what it promises."""

    def __init__(self):
        self.trouble = []
        self.connections = 0
        self.commands = []

    def started(self, event):
        if isinstance(event, monitoring.CommandStartedEvent):
            self.commands.append(event.command_name)

    def succeeded(self, event):
        pass

    def failed(self, event):
        if isinstance(event, monitoring.ServerHeartbeatFailedEvent):
            self.trouble.append(f"heartbeat failed: {event.reply}")
        else:
            self.trouble.append(f"{event.command_name} failed: {event.failure}")

    def opened(self, event):
        pass

    def closed(self, event):
        pass

    def description_changed(self, event):
        if event.previous_description.server_type_name != "Unknown":
            self.trouble.append(f"server changed from {event.previous_description} to {event.new_description}")

    def pool_created(self, event):
        pass

    def pool_ready(self, event):
        pass

    def pool_cleared(self, event):
        self.trouble.append("pool cleared")

    def pool_closed(self, event):
        pass

    def connection_created(self, event):
        self.connections += 1

    def connection_ready(self, event):
        pass

    def connection_closed(self, event):
        self.trouble.append(f"connection closed: {event.reason}")

    def connection_check_out_started(self, event):
        pass

    def connection_check_out_failed(self, event):
        self.trouble.append(f"no connection: {event.reason}")

    def connection_checked_out(self, event):
        pass

    def connection_checked_in(self, event):
        pass


class WatchedClient:
    """A MongoClient through the proxy's port with its listener; majority writes, because they are what is promised."""

    def __init__(self, port, **options):
        self.noticed = Noticed()
        self.client = MongoClient("127.0.0.1", port, event_listeners=[self.noticed], w="majority", serverSelectionTimeoutMS=10_000, **options)
        self.collection = self.client.test.things
        self.unsafe = self.client.test.get_collection("things", write_concern=WriteConcern(0))

    def hear_out(self):
        """Waits until the driver has told all that it knows of its servers: it does so from a queue, up to a second late."""
        queue = self.client._topology._events  # pylint: disable=protected-access
        wait_for(lambda: queue is None or queue.empty(), deadline=5.0, what="the driver's events")

    def saw_nothing(self):
        self.hear_out()
        assert not self.noticed.trouble, "\n".join(self.noticed.trouble)

    def close(self):
        """The listener is deaf from here on: a client that closes closes its connections."""
        self.noticed.trouble = []
        self.client.close()
