"""One asyncpg connection that works through the deaths of its server; drivers/README.md says what every survivor does."""

import asyncio
import collections
import os

import asyncpg

WHO = "asyncpg"
codes = collections.Counter()


async def until_done(connection, work):
    """Runs the work again for as long as the error says that it certainly had no effect."""
    while True:
        try:
            return await work()
        except asyncpg.PostgresError as error:
            codes[error.sqlstate] += 1
            if connection.is_closed() or error.sqlstate not in ("40001", "57P03"):
                raise


async def main():
    connection = await asyncpg.connect(host="127.0.0.1", port=int(os.environ["PORT"]), user="app", database="app", ssl=False)
    await connection.execute(f"SET survivor.name = '{WHO}'")

    def number(sql, *arguments):
        return until_done(connection, lambda: connection.fetchval(sql, *arguments))

    async def insert(number_):
        async with connection.transaction():
            await connection.execute("INSERT INTO driver_ids (id, who) VALUES ($1, $2)", number_, WHO)
            await connection.fetchval("SELECT count(*) FROM driver_ids WHERE id = $1 AND who = $2", number_, WHO)

    id_ = 0
    while await number("SELECT count(*) FROM stop WHERE who = $1", WHO) == 0:
        id_ += 1
        while True:
            try:
                await until_done(connection, lambda: insert(id_))
                break
            except asyncpg.PostgresError as error:
                if connection.is_closed() or error.sqlstate != "08007":
                    raise
                if await number("SELECT count(*) FROM driver_ids WHERE id = $1 AND who = $2", id_, WHO) == 1:
                    break
        await asyncio.sleep(0.005)
    setting = await connection.fetchval("SELECT current_setting('survivor.name', true)")
    print(f"acknowledged {id_} setting {setting} errors {dict(codes)}")
    await connection.close()


asyncio.run(main())
