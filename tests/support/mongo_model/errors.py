"""The errors a server answers with: codes, their names, and which labels a code gets."""

NAMES = {
    1: "InternalError", 2: "BadValue", 4: "NoSuchKey", 6: "HostUnreachable", 7: "HostNotFound", 8: "UnknownError", 9: "FailedToParse",
    11: "UserNotFound", 13: "Unauthorized", 14: "TypeMismatch", 15: "Overflow", 16: "InvalidLength", 17: "ProtocolError",
    18: "AuthenticationFailed", 20: "IllegalOperation", 22: "InvalidBSON", 24: "LockTimeout", 26: "NamespaceNotFound",
    27: "IndexNotFound", 40: "ConflictingUpdateOperators", 43: "CursorNotFound", 47: "NoMatchingDocument", 48: "NamespaceExists", 50: "MaxTimeMSExpired",
    52: "DollarPrefixedFieldName", 59: "CommandNotFound", 64: "WriteConcernFailed", 66: "ImmutableField", 67: "CannotCreateIndex",
    68: "IndexAlreadyExists", 72: "InvalidOptions", 73: "InvalidNamespace", 76: "NoReplicationEnabled", 79: "UnknownReplWriteConcern",
    85: "IndexOptionsConflict", 86: "IndexKeySpecsConflict",
    89: "NetworkTimeout", 91: "ShutdownInProgress", 94: "NotYetInitialized", 96: "OperationFailed", 100: "UnsatisfiableWriteConcern",
    112: "WriteConflict", 115: "CommandNotSupported", 117: "ConflictingOperationInProgress", 123: "NotAReplicaSet", 125: "CommandFailed",
    133: "FailedToSatisfyReadPreference", 134: "ReadConcernMajorityNotAvailableYet", 136: "CappedPositionLost", 143: "CursorInUse",
    175: "QueryPlanKilled", 183: "ClientMetadataMissingField", 184: "ClientMetadataAppNameTooLarge",
    186: "ClientMetadataCannotBeMutated", 189: "PrimarySteppedDown", 202: "NetworkInterfaceExceededTimeLimit",
    207: "InvalidUUID", 205: "ClusterTimeFailsRateLimiter", 217: "IncompleteTransactionHistory", 225: "TransactionTooOld",
    234: "RetryChangeStream", 237: "CursorKilled",
    246: "SnapshotUnavailable", 251: "NoSuchTransaction", 256: "TransactionCommitted", 260: "InvalidResumeToken", 262: "ExceededTimeLimit",
    267: "PreparedTransactionInProgress", 263: "OperationNotSupportedInTransaction",
    280: "ChangeStreamFatalError", 286: "ChangeStreamHistoryLost",
    290: "TransactionExceededLifetimeLimitSeconds", 334: "MechanismUnavailable", 352: "UnsupportedOpQueryCommand",
    9001: "SocketException", 10003: "CannotGrowDocumentInCappedNamespace", 10107: "NotWritablePrimary",
    10334: "BSONObjectTooLarge", 11000: "DuplicateKey", 11600: "InterruptedAtShutdown", 11601: "Interrupted",
    11602: "InterruptedDueToReplStateChange", 13388: "StaleConfig", 13435: "NotPrimaryNoSecondaryOk", 13436: "NotPrimaryOrSecondary",
}

RETRYABLE = {6, 7, 89, 91, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436}
NOT_PRIMARY = {189, 10107, 10058, 11602, 13435, 13436}
SHUTDOWN = {91, 11600}
TRANSIENT = {24, 112, 246, 251, 267}
RESUMABLE = {6, 7, 63, 89, 91, 133, 150, 189, 234, 262, 9001, 10107, 11600, 11602, 13388, 13435, 13436}


def code_name(code):
    """The name a server gives a code."""
    return NAMES.get(code, f"Location{code}")


class BadMessage(Exception):
    """What a server answers by closing the connection without a word."""


class CommandError(Exception):
    """A command failed: `code`, `message`, fields that go into the reply beside them, and labels, where not the usual ones."""

    def __init__(self, code, message, labels=None, **more):
        super().__init__(message)
        self.code = code
        self.message = message
        self.labels = labels
        self.more = more

    def fields(self):
        return {"ok": 0.0, "errmsg": self.message, "code": self.code, "codeName": code_name(self.code), **self.more}


class DropConnection(Exception):
    """The server closes the connection instead of an answer."""


class Locked(Exception):
    """A statement met a document that an open transaction holds."""

    def __init__(self, transaction):
        super().__init__("locked")
        self.transaction = transaction


def labels_for(code, concern_code, *, in_transaction, ends_transaction, retryable):
    """The labels a mongod adds to a reply: to an error by `code`, to an ok by the code of its writeConcernError."""
    found = []
    if in_transaction and code is not None:
        if code in TRANSIENT and concern_code is None:
            found.append("TransientTransactionError")
        elif not ends_transaction and code in RETRYABLE:
            found.append("TransientTransactionError")
    if ends_transaction or retryable:
        if code in RETRYABLE or concern_code in RETRYABLE:
            found.append("RetryableWriteError")
    return found
