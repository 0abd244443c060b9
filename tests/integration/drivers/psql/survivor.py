"""One psql session that works through the deaths of its server; drivers/README.md says what every survivor does.

psql is fed one statement at a time and asked for its SQLSTATE after each. It must never say that it connects anew.
"""

import collections
import os
import subprocess
import sys
import time

WHO = "psql"
codes = collections.Counter()
psql = subprocess.Popen(["psql", "-XAtq", f"host=127.0.0.1 port={os.environ['PORT']} user=app dbname=app sslmode=disable"],
                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1)


def say(sql):
    """Runs one statement; its SQLSTATE and its lines of output."""
    psql.stdin.write(f"{sql}\n\\echo --- :SQLSTATE\n")
    psql.stdin.flush()
    lines = []
    for line in psql.stdout:
        if "server closed the connection unexpectedly" in line or "connection to server was lost" in line:
            sys.exit(f"psql: {line}")
        if line.startswith("--- "):
            return line[4:].strip(), lines
        lines.append(line.strip())
    sys.exit("psql ended: " + " ".join(lines))


def until_done(sql):
    """Runs a statement again for as long as the error says that it certainly had no effect; its output."""
    while True:
        code, lines = say(sql)
        if code == "00000":
            return lines
        codes[code] += 1
        if code not in ("40001", "57P03"):
            sys.exit(f"psql: {code} {lines}")


def insert(number):
    """The SQLSTATE of the first statement that failed, after a ROLLBACK; or 00000."""
    for sql in ("BEGIN;", f"EXECUTE ins({number});", f"EXECUTE look({number});", "COMMIT;"):
        code, _ = say(sql)
        if code != "00000":
            codes[code] += 1
            say("ROLLBACK;")
            return code
    return code


def main():
    until_done(f"SET survivor.name = '{WHO}';")
    until_done(f"PREPARE stop AS SELECT count(*) FROM stop WHERE who = '{WHO}';")
    until_done(f"PREPARE ins (bigint) AS INSERT INTO driver_ids (id, who) VALUES ($1, '{WHO}');")
    until_done(f"PREPARE look (bigint) AS SELECT count(*) FROM driver_ids WHERE id = $1 AND who = '{WHO}';")
    number = 0
    while until_done("EXECUTE stop;") == ["0"]:
        number += 1
        while True:
            code = insert(number)
            if code == "00000" or (code == "08007" and until_done(f"EXECUTE look({number});") == ["1"]):
                break
            if code not in ("40001", "57P03", "08007"):
                sys.exit(f"psql: {code}")
        time.sleep(0.005)
    setting = until_done("SELECT current_setting('survivor.name', true);")[0]
    print(f"acknowledged {number} setting {setting} errors {dict(codes)}")


main()
