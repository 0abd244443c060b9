"""Logging in on a member: SCRAM-SHA-1 and -256 as the server's side, what hello says of logins, and the users."""

import base64
import hashlib
import hmac
import os
import re
import secrets

from bson import Binary

from support.mongo_model.errors import CommandError
from support.mongo_model.member import SECONDARY
from support.mongo_model.session_key import digest_of

ITERATIONS = {"SCRAM-SHA-1": 10000, "SCRAM-SHA-256": 15000}
HASHES = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256"}
SALT_BYTES = {"SCRAM-SHA-1": 16, "SCRAM-SHA-256": 28}


class User:
    """A user with its verifiers: {mechanism: (salt, iterations, storedKey, serverKey)}."""

    def __init__(self, name, database, roles=(), credentials=None):
        self.name = name
        self.database = database
        self.roles = list(roles)
        self.credentials = credentials or {}
        self.identity = Binary(os.urandom(16), 4)
        self.digest = digest_of(f"{name}@{database}")

    def document(self, show_credentials):
        shown = {"_id": f"{self.database}.{self.name}", "userId": self.identity, "user": self.name, "db": self.database}
        if show_credentials:
            shown["credentials"] = {
                name: {"iterationCount": one[1], "salt": _text(one[0]), "storedKey": _text(one[2]), "serverKey": _text(one[3])}
                for name, one in self.credentials.items()}
        return {**shown, "roles": self.roles, "mechanisms": list(self.credentials)}


def _text(data):
    return base64.b64encode(data).decode()


def verifier(mechanism, name, password, iterations=None):
    """(salt, iterations, storedKey, serverKey) of a password."""
    kind, rounds, salt = HASHES[mechanism], iterations or ITERATIONS[mechanism], os.urandom(SALT_BYTES[mechanism])
    secret = hashlib.md5(f"{name}:mongo:{password}".encode()).hexdigest() if kind == "sha1" else password
    salted = hashlib.pbkdf2_hmac(kind, secret.encode(), salt, rounds)
    client_key = hmac.digest(salted, b"Client Key", kind)
    return salt, rounds, hashlib.new(kind, client_key).digest(), hmac.digest(salted, b"Server Key", kind)


def create(cluster, database, name, password, roles=(), mechanisms=("SCRAM-SHA-1", "SCRAM-SHA-256")):
    """Adds or changes a user; every member knows it at once."""
    user = cluster.users.get((database, name)) or User(name, database)
    if password is not None:
        user.credentials = {one: verifier(one, name, password) for one in mechanisms}
    user.roles = [one if isinstance(one, dict) else {"role": one, "db": database} for one in roles]
    cluster.users[database, name] = user
    return user


FAILED = "Authentication failed."


def failed():
    return CommandError(18, FAILED)


def known(member, database, name):
    """The user as this member has it, or None."""
    user, behind = member.cluster.users.get((database, name)), member.cluster.settings.users_behind
    if user is None or behind is None or member.role != SECONDARY:
        return user
    return None if behind == "none" else create_other(user)


def create_other(user):
    """With the same name and the passwords of another."""
    return User(user.name, user.database, user.roles, {one: verifier(one, user.name, "another password") for one in user.credentials})


class Conversation:
    """The server's side of one SCRAM login."""

    def __init__(self, member, database, mechanism, options):
        self.member, self.database, self.mechanism = member, database, mechanism
        self.skip_empty = bool((options or {}).get("skipEmptyExchange"))
        self.step = 0
        self.user = None

    def answer(self, payload):
        """(payload, done); raises 18."""
        self.step += 1
        if self.step == 1:
            return self._first(payload), False
        if self.step == 2:
            return self._second(payload), self.skip_empty
        if payload:
            raise failed()
        return b"", True

    def _first(self, payload):
        found = re.fullmatch(r"[ny],(a=[^,]*)?,(n=([^,]*),r=([^,]+))", payload.decode("utf-8", "replace"))
        if not found:
            raise failed()
        name = found[3].replace("=2C", ",").replace("=3D", "=")
        self.user = known(self.member, self.database, name)
        if self.user is None or self.mechanism not in self.user.credentials:
            raise failed()
        salt, rounds, self.stored, self.server = self.user.credentials[self.mechanism]
        self.header = payload.decode().split(found[2])[0]
        self.nonce = found[4] + base64.b64encode(secrets.token_bytes(18)).decode()
        reply = f"r={self.nonce},s={_text(salt)},i={rounds}"
        self.so_far = f"{found[2]},{reply}"
        return reply.encode()

    def _second(self, payload):
        words = payload.decode("utf-8", "replace")
        without, _, proof = words.rpartition(",p=")
        fields = dict(one.split("=", 1) for one in without.split(",") if "=" in one)
        kind = HASHES[self.mechanism]
        try:
            proof = base64.b64decode(proof, validate=True)
        except ValueError as error:
            raise failed() from error
        if fields.get("r") != self.nonce or base64.b64decode(fields.get("c", "")) != self.header.encode():
            raise failed()
        message = f"{self.so_far},{without}".encode()
        signature = hmac.digest(self.stored, message, kind)
        key = bytes(a ^ b for a, b in zip(proof, signature))
        if len(proof) != len(signature) or not hmac.compare_digest(hashlib.new(kind, key).digest(), self.stored):
            raise failed()
        return f"v={_text(hmac.digest(self.server, message, kind))}".encode()


def start(op, doc, database):
    """saslStart, also from hello: the reply's fields."""
    mechanism = doc.get("mechanism")
    if mechanism not in HASHES:
        raise CommandError(334, f"Received authentication for mechanism {mechanism} which is unknown or not enabled")
    connection = op.connection
    connection.login = Conversation(op.member, database, mechanism, doc.get("options"))
    return proceed(connection, doc.get("payload", b""))


def proceed(connection, payload):
    """The next step of the connection's conversation."""
    conversation = connection.login
    is_text = isinstance(payload, str)
    try:
        answer, done = conversation.answer(base64.b64decode(payload) if is_text else bytes(payload))
    except CommandError:
        connection.login = None
        raise
    if done:
        connection.users = [one for one in connection.users if one.database != conversation.user.database] + [conversation.user]
        connection.login = None
    return {"conversationId": 1, "done": done, "payload": _text(answer) if is_text else answer}


async def greet(op, document):
    """Adds to hello's reply what it says of logins: the mechanisms of a user, and the answer to a login sent along."""
    doc = op.doc
    named = doc.get("saslSupportedMechs")
    if named is not None:
        database, dot, name = named.partition(".")
        if not dot:
            raise CommandError(2, "UserName must contain a '.' separated database.user pair")
        user = known(op.member, database, name)
        if user:
            document["saslSupportedMechs"] = list(user.credentials)
    speculative = doc.get("speculativeAuthenticate")
    if isinstance(speculative, dict) and "saslStart" in speculative:
        try:
            document["speculativeAuthenticate"] = start(op, speculative, speculative.get("db", "admin"))
        except CommandError:
            pass
