"""The table of commands: which function answers one, who may answer it, and what a transaction or a retryable write may hold."""

from dataclasses import dataclass

COMMANDS = {}
ANY, DATA, READ, WRITE = "any", "data", "read", "write"


@dataclass
class Command:
    """`needs`: ANY member answers, DATA any that holds data, READ follows the read preference, WRITE needs the primary."""
    run: object
    needs: str = ANY
    transaction: bool = False
    retryable: bool = False
    login: bool = True
    concern: bool = False
    admin: bool = False


def command(*names, **properties):
    """Registers a function `async def f(op) -> dict` under these names."""
    def register(function):
        for name in names:
            COMMANDS[name] = Command(function, **properties)
        return function
    return register
