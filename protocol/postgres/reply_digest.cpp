// XXH3 (github.com/Cyan4973/xxHash, xxhash.h "XXH3 Streaming"), compiled in here and seen nowhere else.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "protocol/postgres/reply_digest.hpp"

namespace holdfast::postgres {

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

void ReplyDigest::add_error(std::string_view code) {
  add("E");
  add(code);
  failed_ = true;
}

ReplyMark ReplyDigest::mark() const {
  return bytes_ == 0 ? ReplyMark{} : ReplyMark{bytes_, XXH3_64bits_digest(&state_->xxh3), failed_};
}

}  // namespace holdfast::postgres
