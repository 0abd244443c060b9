"""The commands that a member answers; importing this fills the registry."""

from support.mongo_model.commands import catalog, explain, hello, reads, server, sessions, users, writes  # noqa: F401
