"""A pulse: anyone may wait for the next one; many wait at once, and each looks again at what it waits for."""

import asyncio


class Pulse:
    """`fire()` wakes all who wait in `next()`."""

    def __init__(self):
        self._future = None

    def next(self):
        """A future of its own for the one who waits, so that cancelling it disturbs nobody."""
        if self._future is None:
            self._future = asyncio.get_running_loop().create_future()
        return asyncio.shield(self._future)

    def fire(self):
        future, self._future = self._future, None
        if future and not future.done():
            future.set_result(None)
