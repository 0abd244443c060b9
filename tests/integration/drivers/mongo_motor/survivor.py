"""One MongoDB client of Motor that works until its input ends; drivers/README.md says what every survivor does."""

import asyncio
import collections
import json
import os
import sys

from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import PyMongoError


async def move(client, collection):
    """Motor 3.7's with_transaction commits outside of its own loop: that a commit finds its transaction gone is left to the program."""
    while True:
        try:
            async with await client.start_session() as session:
                return await session.with_transaction(lambda inner: collection.update_one({"_id": "motor"}, {"$inc": {"moved": 1}}, session=inner))
        except PyMongoError as error:
            if not error.has_error_label("TransientTransactionError"):
                raise


async def step(client, collection, told):
    await collection.update_one({"_id": "motor"}, {"$inc": {"n": 1}, "$push": {"ids": told["acknowledged"] + 1}})
    told["acknowledged"] += 1
    await move(client, collection)
    told["moved"] += 1
    await collection.find_one({"_id": "motor"})


async def main():
    client = AsyncIOMotorClient(os.environ["URI"], w="majority")
    collection = client.test.survivors
    await collection.insert_one({"_id": "motor", "n": 0, "ids": [], "moved": 0})
    stopped = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    told = {"acknowledged": 0, "moved": 0}
    errors = collections.Counter()
    print("ready", flush=True)
    while not stopped.done():
        try:
            await step(client, collection, told)
        except PyMongoError as error:
            errors[str(getattr(error, "code", None) or type(error).__name__)] += 1
        await asyncio.sleep(0.01)
    client.close()
    print(json.dumps({"who": "motor", **told, "errors": errors}))


asyncio.run(main())
