"""Runs a model set: `python -m support.mongo_model` prints one JSON line with its addresses when it is ready, and serves until it is ended.

    python -m support.mongo_model --members 3 --port 27100 --control 27200 --wire 9
"""

import argparse
import asyncio
import json
import os
import signal
import ssl

from support.mongo_model import login
from support.mongo_model.cluster import Cluster, Settings
from support.mongo_model.control import Control


def parsed(arguments=None):
    parser = argparse.ArgumentParser(prog="mongo_model", description=__doc__.split(":", 1)[0])
    parser.add_argument("--members", type=int, default=3, help="data members of the set (3)")
    parser.add_argument("--arbiters", type=int, default=0, help="arbiters beside them (0)")
    parser.add_argument("--standalone", action="store_true", help="one server that belongs to no set")
    parser.add_argument("--mongos", type=int, default=0, help="routers in front of the set (0)")
    parser.add_argument("--port", type=int, help="the first member's port, others follow (free ones)")
    parser.add_argument("--control", type=int, default=0, help="the control port (a free one)")
    parser.add_argument("--wire", type=int, default=9, help="maxWireVersion (9)")
    parser.add_argument("--set-name", default="rs0")
    parser.add_argument("--election-ms", type=int, default=500, help="election timeout (500)")
    parser.add_argument("--user", action="append", default=[], metavar="DB:NAME:PASSWORD[:ROLE]",
                        help="a user (again for more); with one, logging in is required")
    parser.add_argument("--no-auth", action="store_true", help="users may log in, but need not")
    parser.add_argument("--tls", nargs=3, metavar=("CERT", "KEY", "CA"), help="TLS only; clients may show a certificate of CA")
    parser.add_argument("--lag-ms", type=int, default=0, help="replication lag (0)")
    return parser.parse_args(arguments)


def tls_context(files):
    if files is None:
        return None
    certificate, key, authority = files
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(authority)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


async def main(options):
    settings = Settings(wire=options.wire, set_name=options.set_name, election=options.election_ms / 1000, lag=options.lag_ms / 1000,
                        auth=bool(options.user) and not options.no_auth, tls=tls_context(options.tls))
    cluster = Cluster(options.members + options.arbiters, "standalone" if options.standalone else "replica_set", options.port,
                      options.mongos, options.arbiters, settings)
    for database, name, password, *roles in (one.split(":") for one in options.user):
        login.create(cluster, database, name, password or None, roles)
    control = Control(cluster)
    await cluster.start()
    await control.start(options.control)
    ready = {"members": [one.address for one in cluster.members], "set": None if options.standalone else settings.set_name,
             "mongos": [one.address for one in cluster.routers], "control": control.port, "pid": os.getpid(), "wire": settings.wire}
    print(json.dumps(ready), flush=True)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await ended.wait()
    await cluster.close()


if __name__ == "__main__":
    asyncio.run(main(parsed()))
