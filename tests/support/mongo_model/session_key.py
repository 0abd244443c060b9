"""The key of a session: its id with the digest of the user that it belongs to, so that two users never share one."""

import base64
import hashlib

EMPTY_DIGEST = base64.b64encode(hashlib.sha256(b"").digest()).decode()


def session_key(op, lsid):
    """(id bytes, digest) of the lsid document of a command's user."""
    return bytes(lsid["id"]), op.connection.user.digest if op.connection.user else EMPTY_DIGEST
