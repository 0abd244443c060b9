"""Finding, stopping and starting processes: their environment, an unprivileged account for servers, the children of a process, signals."""

import os
import pwd
import shutil
import signal
import subprocess


def environment(**more):
    """This process's own with `more`, for one that a thread starts. Without one of its own execve reads the C library's, and fails with EFAULT
    where pytest, between two tests, sets its variable there just then."""
    names = [name for name in os.environ if name != "PYTEST_CURRENT_TEST"]
    return {**{name: os.environ[name] for name in names}, **more}


def unprivileged_account():
    """The account for a process that refuses to run as root: (uid, gid), or None where the tests do not run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
        except KeyError:
            continue
    raise AssertionError("neither postgres nor nobody exists, and a PostgreSQL server does not run as root")


def unprivileged(command):
    """`command` changed to run as the unprivileged account and to die with the thread that starts it."""
    prefix = ["setpriv", "--pdeathsig", "KILL"]
    account = unprivileged_account()
    if account:
        prefix += [f"--reuid={account[0]}", f"--regid={account[1]}", "--clear-groups"]
    return prefix + ["--"] + list(command)


def give_away(path):
    """Hands a folder with all that is in it to the unprivileged account."""
    account = unprivileged_account()
    if not account:
        return
    os.chown(path, *account)
    for folder, folders, files in os.walk(path):
        for name in folders + files:
            os.chown(os.path.join(folder, name), *account, follow_symlinks=False)


def readable_by_all(path):
    """Whether the unprivileged account can reach and read `path`: every folder above it must let it pass."""
    result = subprocess.run(unprivileged(["test", "-r", str(path)]), check=False)
    return result.returncode == 0


def children(pid):
    """The process ids whose parent is `pid`."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as stat:
                after_name = stat.read().rpartition(")")[2].split()
        except OSError:
            continue
        if int(after_name[1]) == pid:
            found.append(int(name))
    return found


def is_alive(pid):
    """Whether the process runs; a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def unread_bytes(pid):
    """How many received bytes the TCP sockets of a process hold that it has not read (proc(5), /proc/net/tcp)."""
    inodes = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        target = os.readlink(f"/proc/{pid}/fd/{name}")
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    total = 0
    with open("/proc/net/tcp", encoding="ascii") as table:
        for line in table:
            words = line.split()
            if len(words) > 9 and words[9] in inodes and words[3] == "01":
                total += int(words[4].partition(":")[2], 16)
    return total


def send(pid, number):
    """Sends a signal; a process that is gone already is no error."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def kill9(pid):
    send(pid, signal.SIGKILL)


def require(program):
    """The path of a program on PATH, or an AssertionError that names it."""
    path = shutil.which(program)
    assert path, f"{program} is not on PATH: run deploy/install-dependencies"
    return path
