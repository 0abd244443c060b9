"""What clients are promised: codes, faults, and the states that a lost statement or transaction leaves behind."""

LOST = "40001"  # Certainly had no effect: try again.
UNKNOWN = "08007"  # May have committed: look.
FAILED = "25P02"  # The transaction is over, but for its ROLLBACK.
NO_UPSTREAM = "57P03"
CANCELLED = "57014"
ENDED = "57P01"

# The ways a server dies or restarts under its clients (support.postgres.PostgresServer.restart), and one backend's crash.
FAULTS = ("kill9", "kill9_all", "fast", "immediate", "kill9_backend")


def inflict(server, fault, pid=None):
    """Makes one of FAULTS happen; `pid` is the backend that a `kill9_backend` hits. The server accepts again afterwards."""
    if fault == "kill9_backend":
        server.kill9_backend(pid)
    else:
        server.restart(fault)


def assert_alive(client):
    """The session's next statement works, outside any transaction."""
    reply = client.query("SELECT 'alive'")
    assert reply.rows == [("alive",)] and reply.status == "I", reply


def assert_lost(reply, code, status="I"):
    """The one error that a lost statement gives, and the status it leaves behind."""
    assert not reply.closed, reply
    assert reply.error.code == code, reply
    assert reply.error.severity == "ERROR", reply
    assert reply.status == status, reply


def assert_failed_until_rollback(client, ending="ROLLBACK"):
    """The transaction's every further statement fails until ROLLBACK or COMMIT, which both answer ROLLBACK; then all is well."""
    for _ in range(2):
        reply = client.query("SELECT 1")
        assert reply.error.code == FAILED and reply.status == "E", reply
    reply = client.query(ending)
    assert not reply.errors and reply.tags == ["ROLLBACK"] and reply.status == "I", reply
    assert_alive(client)
