// Packs whole messages into OP_COMPRESSED and unpacks them (MongoDB manual, "Wire Protocol Compression"). What is packed when, is
// for its user to have negotiated.
//
//   header (opCode 2012) | originalOpcode int32 | uncompressedSize int32, without the header | compressorId uint8 | data
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/mongo/frame.hpp"

namespace holdfast::mongo {

enum class Compressor : std::uint8_t { snappy = 1, zlib = 2, zstd = 3 };

/// As hello and connection strings name it.
[[nodiscard]] std::optional<Compressor> compressor_named(std::string_view name);

/// May this OP_MSG be packed? None that logs in, says hello or carries a password may (the list is the specification's), none that
/// cannot be read, and none with a checksum, which is of the bytes as they stand.
[[nodiscard]] bool may_be_compressed(std::string_view frame);

/// `zlib_level`: 0 to 9, or -1 for zlib's own choice; the others have theirs. `frame` is a whole message.
[[nodiscard]] std::string compress(std::string_view frame, Compressor compressor, int zlib_level);

/// Nothing where it may not be packed, or would not be shorter for it: servers take any message as it is, but none that packing makes longer
/// than they take (message_length_max).
[[nodiscard]] std::string compress_if_shorter(std::string_view frame, Compressor compressor, int zlib_level);

/// `frame` is a whole OP_COMPRESSED; `into` becomes the OP_MSG in it. Its stated size is compared with its limit before memory is taken.
[[nodiscard]] FrameError decompress(std::string_view frame, std::string& into);

}  // namespace holdfast::mongo
