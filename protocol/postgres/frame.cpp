// Fields and messages, byte by byte.
#include "protocol/postgres/frame.hpp"

namespace holdfast::postgres {

std::string_view Reader::cstring() {
  const auto end = rest_.find('\0');
  if (failed_ || end == std::string_view::npos) {
    failed_ = true;
    return {};
  }
  const auto field = rest_.substr(0, end);
  rest_.remove_prefix(end + 1);
  return field;
}

std::string_view Reader::take(std::size_t size) {
  if (failed_ || size > rest_.size()) {
    failed_ = true;
    return {};
  }
  const auto field = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return field;
}

Writer::Writer(std::string& out, char type) : out_(out) {
  if (type != 0) out_.push_back(type);
  length_at_ = out_.size();
  out_.append(4, '\0');
}

Writer& Writer::u8(std::uint8_t value) {
  out_.push_back(static_cast<char>(value));
  return *this;
}

Writer& Writer::i16(std::int16_t value) {
  out_.push_back(static_cast<char>(static_cast<std::uint16_t>(value) >> 8));
  out_.push_back(static_cast<char>(value));
  return *this;
}

Writer& Writer::i32(std::int32_t value) {
  out_.append(4, '\0');
  store_u32(out_.data() + out_.size() - 4, static_cast<std::uint32_t>(value));
  return *this;
}

Writer& Writer::cstring(std::string_view value) {
  out_.append(value);
  out_.push_back('\0');
  return *this;
}

Writer& Writer::bytes(std::string_view value) {
  out_.append(value);
  return *this;
}

void Writer::finish() { store_u32(out_.data() + length_at_, static_cast<std::uint32_t>(out_.size() - length_at_)); }

}  // namespace holdfast::postgres
