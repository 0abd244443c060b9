"""The commands that a member answers; importing this fills the registry."""

from support.mongo_model.commands import catalog, hello, reads, server, sessions, users, writes  # noqa: F401
