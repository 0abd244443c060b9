"""Compression of the wire protocol, with the libraries that PyMongo itself uses; those that are not there are not offered."""

import zlib

from support.mongo_model.errors import BadMessage

try:
    from backports import zstd
except ImportError:
    zstd = None
try:
    import snappy
except ImportError:
    snappy = None

NUMBERS = {"snappy": 1, "zlib": 2, "zstd": 3}
NAMES = {number: name for name, number in NUMBERS.items()}
PACK = {"zlib": zlib.compress}
UNPACK = {"zlib": zlib.decompress}
if zstd:
    PACK["zstd"], UNPACK["zstd"] = zstd.compress, zstd.decompress
if snappy:
    PACK["snappy"], UNPACK["snappy"] = snappy.compress, snappy.uncompress

# What the specification forbids to compress.
NEVER = {"hello", "ismaster", "saslstart", "saslcontinue", "getnonce", "authenticate", "createuser", "updateuser", "copydbsaslstart",
         "copydbgetnonce", "copydb"}


def pack(data, number):
    return PACK[NAMES[number]](data)


def unpack(data, number, size):
    """The bytes, which must be as many as were stated."""
    name = NAMES.get(number)
    if name not in UNPACK:
        raise BadMessage(f"compressor {number}")
    try:
        plain = UNPACK[name](bytes(data))
    except Exception as error:
        raise BadMessage(f"broken {name}") from error
    if len(plain) != size:
        raise BadMessage("uncompressed size")
    return plain
