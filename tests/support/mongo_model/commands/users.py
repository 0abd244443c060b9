"""Logins and users: saslStart, saslContinue, logout, connectionStatus, createUser, updateUser, dropUser, usersInfo."""

from support.mongo_model import login
from support.mongo_model.errors import CommandError
from support.mongo_model.registry import READ, WRITE, command


@command("saslStart", login=False)
async def sasl_start(op):
    return login.start(op, op.doc, op.database)


@command("saslContinue", login=False)
async def sasl_continue(op):
    connection = op.connection
    if connection.login is None:
        raise CommandError(17, "No SASL session state found")
    if op.doc.get("conversationId") != 1:
        connection.login = None
        raise CommandError(17, "sasl: Mismatched conversation id")
    return login.proceed(connection, op.doc.get("payload", b""))


@command("authenticate", login=False)
async def authenticate(op):
    """By the certificate that the client's TLS showed: its subject is a user of $external."""
    if op.doc.get("mechanism") != "MONGODB-X509":
        raise CommandError(334, f"Received authentication for mechanism {op.doc.get('mechanism')} which is unknown or not enabled")
    shown = op.connection.writer.get_extra_info("peercert") or {}
    subject = ",".join(f"{'CN' if key == 'commonName' else key}={value}" for part in reversed(shown.get("subject", ())) for key, value in part)
    user = op.member.cluster.users.get(("$external", subject))
    if user is None or op.doc.get("user") not in (None, subject):
        raise login.failed()
    op.connection.users = [user]
    return {"dbname": "$external", "user": subject}


@command("logout", login=False)
async def logout(op):
    op.connection.users = [one for one in op.connection.users if one.database != op.database]
    return {}


@command("connectionStatus", login=False)
async def connection_status(op):
    users = op.connection.users
    shown = {"authenticatedUsers": [{"user": one.name, "db": one.database} for one in users],
             "authenticatedUserRoles": [role for one in users for role in one.roles]}
    if op.doc.get("showPrivileges"):
        shown["authenticatedUserPrivileges"] = []
    return {"authInfo": shown}


@command("createUser", needs=WRITE, concern=True)
async def create_user(op):
    if (op.database, op.doc["createUser"]) in op.member.cluster.users:
        raise CommandError(51003, f"User \"{op.doc['createUser']}@{op.database}\" already exists")
    login.create(op.member.cluster, op.database, op.doc["createUser"], op.doc.get("pwd"), op.doc.get("roles", ()),
                 op.doc.get("mechanisms", tuple(login.HASHES)))
    return {}


def _known(op, name):
    if (op.database, name) not in op.member.cluster.users:
        raise CommandError(11, f"User '{name}@{op.database}' not found")


@command("updateUser", needs=WRITE, concern=True)
async def update_user(op):
    name = op.doc["updateUser"]
    _known(op, name)
    user = op.member.cluster.users[op.database, name]
    login.create(op.member.cluster, op.database, name, op.doc.get("pwd"), op.doc.get("roles", user.roles),
                 op.doc.get("mechanisms", tuple(user.credentials)))
    return {}


def _log_out(cluster, database, name):
    """Ends the user's logins: each connection asks for its user again before its next command, and who was made anew is another one."""
    for member in cluster.members + cluster.routers:
        for connection in member.connections:
            connection.users = [one for one in connection.users if (one.database, one.name) != (database, name)]


@command("dropUser", needs=WRITE, concern=True)
async def drop_user(op):
    name = op.doc["dropUser"]
    _known(op, name)
    del op.member.cluster.users[op.database, name]
    _log_out(op.member.cluster, op.database, name)
    return {}


def _is_admin(user):
    return any(role["role"] in ("root", "userAdmin", "userAdminAnyDatabase", "__system") for role in user.roles)


@command("usersInfo", needs=READ)
async def users_info(op):
    """A user may look at itself, credentials included; others need a role for that."""
    wanted, cluster = op.doc["usersInfo"], op.member.cluster
    if isinstance(wanted, (str, dict)):
        wanted = [wanted]
    if isinstance(wanted, list):
        keys = [(op.database, one) if isinstance(one, str) else (one["db"], one["user"]) for one in wanted]
    else:
        keys = [key for key in cluster.users if key[0] == op.database]
    own = {(one.database, one.name) for one in op.connection.users}
    if cluster.settings.auth and not any(map(_is_admin, op.connection.users)) and (not set(keys) <= own or wanted == 1):
        raise CommandError(13, f"not authorized on {op.database} to execute command usersInfo")
    if op.doc.get("showCredentials") and not cluster.settings.own_verifier and not any(map(_is_admin, op.connection.users)):
        raise CommandError(13, f"not authorized on {op.database} to execute command usersInfo with showCredentials")
    found = [cluster.users[key] for key in keys if key in cluster.users]
    return {"users": [one.document(bool(op.doc.get("showCredentials"))) for one in found]}
