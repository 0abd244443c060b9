"""A process that has no descriptor left."""

import os
import resource
from contextlib import contextmanager
from itertools import count


@contextmanager
def none_left(process):
    """Whatever would open one fails (EMFILE); those that are open stay."""
    before = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    taken = {int(name) for name in os.listdir(f"/proc/{process.pid}/fd")}
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (next(each for each in count() if each not in taken), before[1]))
    try:
        yield
    finally:
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, before)
