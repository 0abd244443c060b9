"""Logging in on a member: nothing yet but what hello says of it."""


async def greet(op, document):
    """Adds to hello's reply what it says of logins."""
