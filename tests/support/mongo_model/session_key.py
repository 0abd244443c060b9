"""The key of a session: its id with the digest of the user that it belongs to, so that two users never share one."""

import base64
import hashlib

from bson import Binary

from support.mongo_model.errors import CommandError


def digest_of(words):
    """What a session's user is known by."""
    return base64.b64encode(hashlib.sha256(words.encode()).digest()).decode()


EMPTY_DIGEST = digest_of("")
HELLO = ("hello", "isMaster", "ismaster")


def checked(lsid):
    if not isinstance(lsid, dict):
        raise CommandError(14, "BSON field 'OperationSessionInfo.lsid' is the wrong type, expected type 'object'")
    if "id" not in lsid:
        raise CommandError(40414, "BSON field 'LogicalSessionFromClient.id' is missing but a required field")
    if not isinstance(lsid["id"], Binary) or lsid["id"].subtype != 4:
        raise CommandError(14, "BSON field 'LogicalSessionFromClient.id' is the wrong binData type")
    if len(lsid["id"]) != 16:
        raise CommandError(207, "uuid must be a 16-byte binary field with UUID (4) subtype")
    return lsid


def session_key(op, lsid):
    """(id bytes, digest) of the lsid document of a command's user."""
    return bytes(checked(lsid)["id"]), op.connection.user.digest if op.connection.user else EMPTY_DIGEST
