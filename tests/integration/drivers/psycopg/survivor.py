"""One psycopg 3 connection that works through the deaths of its server; drivers/README.md says what every survivor does."""

import collections
import os
import time

import psycopg

WHO = "psycopg"
codes = collections.Counter()


def until_done(connection, work):
    """Runs the work again for as long as the error says that it certainly had no effect."""
    while True:
        try:
            return work()
        except psycopg.Error as error:
            codes[error.sqlstate] += 1
            if connection.closed or error.sqlstate not in ("40001", "57P03"):
                raise


def main():
    connection = psycopg.connect(f"host=127.0.0.1 port={os.environ['PORT']} user=app dbname=app sslmode=disable", autocommit=True)
    connection.prepare_threshold = 1
    connection.execute(f"SET survivor.name = '{WHO}'")

    def number(sql, *arguments):
        return until_done(connection, lambda: connection.execute(sql, arguments).fetchone()[0])

    def insert(number_):
        with connection.transaction():
            connection.execute("INSERT INTO driver_ids (id, who) VALUES (%s, %s)", (number_, WHO))
            connection.execute("SELECT count(*) FROM driver_ids WHERE id = %s AND who = %s", (number_, WHO))

    id_ = 0
    while number("SELECT count(*) FROM stop WHERE who = %s", WHO) == 0:
        id_ += 1
        while True:
            try:
                until_done(connection, lambda: insert(id_))
                break
            except psycopg.Error as error:
                if connection.closed or error.sqlstate != "08007":
                    raise
                if number("SELECT count(*) FROM driver_ids WHERE id = %s AND who = %s", id_, WHO) == 1:
                    break
        time.sleep(0.005)
    setting = connection.execute("SELECT current_setting('survivor.name', true)").fetchone()[0]
    print(f"acknowledged {id_} setting {setting} errors {dict(codes)}")
    connection.close()


main()
