"""The rows of docs/transparency.md as a client lives through them: each function makes one moment happen and says what the client saw.

They know nothing of what is between client and server. `stage.server` is a support.postgres.PostgresServer, `stage.client()` a new
session through the target.
"""

from support import wire
from support.holdfast import Background
from support.waiting import wait_for

# Seconds that a client is given: longer than pgbouncer waits after a failed login (15 s).
PATIENCE = 30.0

TABLES = """
CREATE OR REPLACE FUNCTION look() RETURNS text LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN (SELECT count(*)::text FROM blocked); END $$;
"""
WAITING_WRITE = "INSERT INTO ids SELECT 1 FROM (SELECT count(*) FROM blocked) AS waited"


class Seen(Exception):
    """What a client saw, where it is not what it had wanted."""


def saw(reply, rows=None, tags=None):
    """`reply` is what the client wanted: rows or tags; else Seen says what it is."""
    errors = reply.errors
    if reply.closed:
        raise Seen(f"X {errors[-1].code}" if errors else "X")
    if errors:
        raise Seen(f"E {errors[0].code}")
    if (rows is not None and reply.rows != rows) or (tags is not None and reply.tags != tags):
        raise Seen(f"wrong: {reply.rows or reply.tags}")
    return reply


def ask(client, sql, rows=None, tags=None):
    client.try_send(wire.query(sql))
    return saw(client.reply(PATIENCE), rows, tags)


def begin(client):
    saw(client.query("BEGIN"))
    saw(client.query("INSERT INTO ids VALUES (1)"))


def under_way(stage, client, sql, how):
    """The statement waits for a lock as the server ends; its reply."""
    with stage.server.block():
        client.send(wire.query(sql))
        stage.server.wait_until_waiting(sql)
        stage.server.restart(how)
    return client.reply(PATIENCE)


def idle(stage):
    client = stage.client()
    saw(client.query("SET search_path = extra"))
    stage.server.restart("kill9")
    if ask(client, "SHOW search_path").rows != [("extra",)]:
        raise Seen("T, but its SET is lost")


def logging_in(stage):
    stage.server.end("kill9_all")
    login = Background(stage.client)
    try:
        stage.wait_for_attempt(login)
    finally:
        stage.server.start()
    try:
        client = login.result(PATIENCE)
    except (AssertionError, OSError) as reason:
        raise Seen("refused") from reason
    ask(client, "SELECT 1", rows=[("1",)])


def while_down(stage):
    client = stage.client()
    saw(client.query("SELECT 1"))
    stage.server.end("kill9_all")
    client.try_send(wire.query("SELECT 2"))
    stage.server.start()
    saw(client.reply(PATIENCE), rows=[("2",)])


def reading(stage):
    saw(under_way(stage, stage.client(), "SELECT count(*) FROM blocked", "kill9"), rows=[("0",)])


def rows_delivered(stage):
    client = stage.client()
    with stage.server.block():
        client.send(wire.query("SELECT n || repeat('x', 1000) FROM generate_series(1, 100) AS n UNION ALL SELECT look()"))
        stage.server.wait_until_waiting("look()")
        client.receive_until("D")
        stage.server.restart("kill9")
    reply = saw(client.reply(PATIENCE))
    if len(set(reply.rows)) != 100:
        raise Seen("wrong rows")


def writing(how):
    def row(stage):
        saw(under_way(stage, stage.client(), WAITING_WRITE, how), tags=["INSERT 0 1"])
        stage.expect_ids(1)
    return row


def in_transaction(stage):
    client = stage.client()
    begin(client)
    stage.server.restart("kill9")
    ask(client, "INSERT INTO ids VALUES (2)", tags=["INSERT 0 1"])
    ask(client, "COMMIT", tags=["COMMIT"])
    stage.expect_ids(1, 2)


def in_transaction_busy(stage):
    client = stage.client()
    begin(client)
    saw(under_way(stage, client, "SELECT count(*) FROM blocked", "kill9"), rows=[("0",)])
    ask(client, "COMMIT", tags=["COMMIT"])
    stage.expect_ids(1)


def committing(how):
    def row(stage):
        client = stage.client()
        begin(client)
        saw(client.query("INSERT INTO slow_to_commit VALUES (1)"))
        saw(under_way(stage, client, "COMMIT", how), tags=["COMMIT"])
        stage.expect_ids(1)
    return row


def preparing(stage):
    client = stage.client()
    begin(client)
    saw(client.query("INSERT INTO slow_to_commit VALUES (1)"))
    saw(under_way(stage, client, "PREPARE TRANSACTION 'transfer'", "kill9_all"), tags=["PREPARE TRANSACTION"])
    ask(client, "COMMIT PREPARED 'transfer'", tags=["COMMIT PREPARED"])
    stage.expect_ids(1)


def failed(stage):
    client = stage.client()
    begin(client)
    client.query("SELECT 1/0")
    stage.server.restart("kill9")
    ask(client, "ROLLBACK", tags=["ROLLBACK"])
    ask(client, "SELECT 1", rows=[("1",)])


def pipeline(stage):
    client = stage.client()
    client.send(wire.extended("INSERT INTO ids VALUES (1)"), wire.FLUSH)
    client.receive_until("C")
    stage.server.restart("kill9")
    client.try_send(wire.extended("SELECT 'last'"), wire.SYNC)
    saw(client.reply(PATIENCE), rows=[("last",)])
    stage.expect_ids(1)


def pipeline_of_syncs(stage):
    client = stage.client()
    sql = "SELECT count(*) FROM blocked"
    with stage.server.block():
        client.send(wire.extended(sql), wire.SYNC, wire.extended("SELECT 'second'"), wire.SYNC)
        stage.server.wait_until_waiting(sql)
        stage.server.restart("kill9")
    saw(client.reply(PATIENCE), rows=[("0",)])
    saw(client.reply(PATIENCE), rows=[("second",)])


def copy_in(stage):
    client = stage.client()
    client.send(wire.query("COPY ids (id) FROM STDIN"))
    client.receive_until("G")
    client.send(wire.copy_data(b"1\n"))
    stage.server.restart("kill9")
    client.try_send(wire.copy_data(b"2\n"), wire.COPY_DONE)
    saw(client.reply(PATIENCE), tags=["COPY 2"])
    stage.expect_ids(1, 2)


def listening(stage):
    client = stage.client()
    saw(client.query("LISTEN news"))
    stage.server.restart("kill9")
    ask(client, "SELECT 1")
    stage.server.query("NOTIFY news")
    try:
        heard = client.receive_until("A", 3.0)
    except AssertionError:
        raise Seen("T, but it hears nothing more") from None
    saw(heard)


def temporary_table(stage):
    client = stage.client()
    saw(client.query("CREATE TEMP TABLE mine (id int)"))
    stage.server.restart("kill9")
    ask(client, "SELECT count(*) FROM mine", rows=[("0",)])


def cancelling(stage):
    client = stage.client()
    saw(client.query("SELECT 1"))
    stage.server.restart("kill9")
    ask(client, "SELECT 1")
    client.send(wire.query("SELECT pg_sleep(60)"))
    stage.server.wait_until_running("pg_sleep(60)")
    client.cancel()
    reply = client.reply(PATIENCE)
    if [error.code for error in reply.errors] != ["57014"]:
        saw(reply)


def procedure(stage):
    saw(under_way(stage, stage.client(), "CALL wait_for_blocked()", "kill9"), tags=["CALL"])


def large_message(stage):
    client = stage.client()
    size = 32 * 1024 * 1024
    client.send(wire.query(f"SELECT repeat('y', {size})"))
    wait_for(lambda: stage.server.query("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'ClientWrite'"), 10, "it is being written")
    stage.server.restart("kill9_all")
    if [len(row[0]) for row in saw(client.reply(2 * PATIENCE)).rows] != [size]:
        raise Seen("wrong row")


def replication(stage):
    client = stage.client(user="postgres", replication="database")
    saw(client.query("IDENTIFY_SYSTEM"))
    stage.server.restart("kill9")
    ask(client, "IDENTIFY_SYSTEM")


# (row of the table, the moment, what happens).
ROWS = [
    ("1", "idle, with a setting; crash", idle),
    ("2", "logging in while there is no server", logging_in),
    ("3", "sending a statement while there is no server", while_down),
    ("4", "running a read; crash", reading),
    ("5", "running a read, rows already delivered; crash", rows_delivered),
    ("6", "running a write outside a transaction; crash", writing("kill9_all")),
    ("6", "running such a write; fast shutdown", writing("fast")),
    ("7", "in a transaction, idle; crash", in_transaction),
    ("8", "in a transaction, a statement under way; crash", in_transaction_busy),
    ("9", "waiting for COMMIT; crash", committing("kill9_all")),
    ("9", "waiting for COMMIT; fast shutdown", committing("fast")),
    ("10", "in a failed transaction; crash", failed),
    ("11", "in a pipeline, its Sync not sent; crash", pipeline),
    ("12", "in a pipeline of two reads with a Sync each; crash", pipeline_of_syncs),
    ("13", "in COPY IN; crash", copy_in),
    ("14", "listening; crash", listening),
    ("15", "holding a temporary table; crash", temporary_table),
    ("16", "cancelling a statement after a crash", cancelling),
    ("17", "running CALL; crash", procedure),
    ("17", "waiting for PREPARE TRANSACTION; crash", preparing),
    ("18", "receiving a row of 32 MiB, cut in the middle; crash", large_message),
    ("19", "on a replication connection; crash", replication),
]
