// XXH3 (github.com/Cyan4973/xxHash, xxhash.h "XXH3 Streaming"), compiled in here and seen nowhere else.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "protocol/postgres/frame.hpp"
#include "protocol/postgres/reply_digest.hpp"

namespace holdfast::postgres {
namespace {

/// OIDs below it are the server's own (access/transam.h, FirstNormalObjectId).
constexpr std::uint32_t first_normal_oid = 16384;
constexpr std::size_t columns_at = header_size + 2;    // length and number of columns
constexpr std::size_t oid_size = 4, after_oid = 14;    // of a column, behind its name ("Message Formats", RowDescription)

}  // namespace

struct ReplyDigest::State {
  XXH3_state_t xxh3;  // aligned to 64 bytes by its own declaration
};

ReplyDigest::ReplyDigest() = default;
ReplyDigest::~ReplyDigest() = default;

void ReplyDigest::add(std::string_view bytes) {
  if (!state_) state_ = std::make_unique<State>();
  if (bytes_ == 0) XXH3_64bits_reset(&state_->xxh3);
  XXH3_64bits_update(&state_->xxh3, bytes.data(), bytes.size());
  bytes_ += bytes.size();
}

void ReplyDigest::add_row_description(std::string_view message) {
  std::size_t done = 0, at = columns_at;
  while (at < message.size()) {
    const auto name_end = message.find('\0', at);
    if (name_end == std::string_view::npos || message.size() - name_end - 1 < oid_size + after_oid) break;  // as it stands
    at = name_end + 1;
    if (load_u32(message.data() + at) >= first_normal_oid) {
      add(message.substr(done, at - done));
      add(std::string_view("\0\0\0\0", oid_size));
      done = at + oid_size;
    }
    at += oid_size + after_oid;
  }
  if (done < message.size()) add(message.substr(done));
}

void ReplyDigest::add_error(std::string_view code) {
  add("E");
  add(code);
  failed_ = true;
}

ReplyMark ReplyDigest::mark() const {
  return bytes_ == 0 ? ReplyMark{} : ReplyMark{bytes_, XXH3_64bits_digest(&state_->xxh3), failed_};
}

}  // namespace holdfast::postgres
