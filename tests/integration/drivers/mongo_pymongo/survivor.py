"""One MongoDB client of PyMongo that works until its input ends; drivers/README.md says what every survivor does."""

import collections
import json
import os
import sys
import threading
import time

from pymongo import MongoClient
from pymongo.errors import PyMongoError

client = MongoClient(os.environ["URI"], w="majority")
collection = client.test.survivors
collection.insert_one({"_id": "pymongo", "n": 0, "ids": [], "moved": 0})
stopped = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stopped.set()), daemon=True).start()
acknowledged = moved = 0
errors = collections.Counter()
print("ready", flush=True)
while not stopped.is_set():
    try:
        collection.update_one({"_id": "pymongo"}, {"$inc": {"n": 1}, "$push": {"ids": acknowledged + 1}})
        acknowledged += 1
        with client.start_session() as session:
            session.with_transaction(lambda inner: collection.update_one({"_id": "pymongo"}, {"$inc": {"moved": 1}}, session=inner))
        moved += 1
        collection.find_one({"_id": "pymongo"})
    except PyMongoError as error:
        errors[str(getattr(error, "code", None) or type(error).__name__)] += 1
    time.sleep(0.01)
client.close()
print(json.dumps({"who": "pymongo", "acknowledged": acknowledged, "moved": moved, "errors": errors}))
