"""One psycopg 3 connection that does what its input says, line by line; ../README.md has the language."""

import os
import sys

import psycopg

LEVELS = {"read committed": psycopg.IsolationLevel.READ_COMMITTED, "repeatable read": psycopg.IsolationLevel.REPEATABLE_READ,
          "serializable": psycopg.IsolationLevel.SERIALIZABLE}


def execute(connection, statement):
    """Runs SQL with its whole-number arguments; the rows."""
    sql, *arguments = statement.split("\x1f")
    cursor = psycopg.RawCursor(connection)
    cursor.execute(sql, [psycopg.types.numeric.Int8(value) for value in arguments] or None)
    return cursor.fetchall() if cursor.description else []


def perform(connection, word, arguments):
    """One line of the language; the rows that it gave."""
    if word == "begin":
        connection.isolation_level = LEVELS[arguments[0]]
        connection.autocommit = False
    elif word in ("commit", "rollback"):
        getattr(connection, word)()
        connection.autocommit = True
    else:
        return execute(connection, arguments[0])
    return []


def main():
    connection = psycopg.connect(f"host=127.0.0.1 port={os.environ['PORT']} user=app dbname=app sslmode=disable", autocommit=True)
    connection.prepare_threshold = 1
    for line in sys.stdin:
        word, *arguments = line.rstrip("\n").split("\t")
        try:
            rows = perform(connection, word, arguments)
            answer = ["ok", *("\x1f".join("" if value is None else str(value) for value in row) for row in rows)]
        except psycopg.Error as error:
            answer = ["error", error.sqlstate or "none", "closed" if connection.closed else "open", str(error)]
        print("\t".join(" ".join(field.split("\n")) for field in answer), flush=True)


if __name__ == "__main__":
    main()
