// BSON (bsonspec.org, version 1.1): reading by libbson, writing by hand, because elements are copied as they stand.
#include "protocol/mongo/document.hpp"

#include <bson/bson.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace holdfast::mongo {

static_assert(std::endian::native == std::endian::little, "BSON is little-endian, and so is what reads it here");

namespace {

std::string_view view(const std::uint8_t* data, std::uint32_t size) { return {reinterpret_cast<const char*>(data), size}; }

std::int64_t toward_zero(double value) {
  constexpr double limit = 9.2e18;
  if (std::isnan(value)) return 0;
  return static_cast<std::int64_t>(std::clamp(value, -limit, limit));
}

void read_value(const bson_iter_t& iter, Element& into) {
  std::uint32_t size = 0;
  const std::uint8_t* data = nullptr;
  switch (bson_iter_type(&iter)) {
    case BSON_TYPE_INT32:
    case BSON_TYPE_INT64:
      into.kind = Kind::number;
      into.whole = true;
      into.integer = bson_iter_as_int64(&iter);
      into.real = static_cast<double>(into.integer);
      break;
    case BSON_TYPE_DOUBLE:
      into.kind = Kind::number;
      into.real = bson_iter_double(&iter);
      into.integer = toward_zero(into.real);
      break;
    case BSON_TYPE_BOOL:
      into.kind = Kind::boolean;
      into.integer = bson_iter_bool(&iter) ? 1 : 0;
      break;
    case BSON_TYPE_DATE_TIME:
      into.kind = Kind::date;
      into.integer = bson_iter_date_time(&iter);
      break;
    case BSON_TYPE_NULL: into.kind = Kind::null; break;
    case BSON_TYPE_UTF8: {
      const char* text = bson_iter_utf8(&iter, &size);
      into.kind = Kind::text;
      into.bytes = {text, size};
      break;
    }
    case BSON_TYPE_DOCUMENT:
      bson_iter_document(&iter, &size, &data);
      into.kind = Kind::document;
      into.bytes = view(data, size);
      break;
    case BSON_TYPE_ARRAY:
      bson_iter_array(&iter, &size, &data);
      into.kind = Kind::array;
      into.bytes = view(data, size);
      break;
    case BSON_TYPE_BINARY:
      bson_iter_binary(&iter, nullptr, &size, &data);
      into.kind = Kind::binary;
      into.bytes = view(data, size);
      break;
    case BSON_TYPE_OID:
      into.kind = Kind::object_id;
      into.bytes = view(bson_iter_oid(&iter)->bytes, sizeof(bson_oid_t));
      break;
    default: break;
  }
}

void put(std::string& out, const void* value, std::size_t size) { out.append(static_cast<const char*>(value), size); }

void put_length(std::string& out, std::size_t size) {
  const auto length = static_cast<std::int32_t>(size);
  put(out, &length, sizeof length);
}

}  // namespace

std::optional<std::size_t> document_length(std::string_view bytes) {
  if (bytes.size() < 4) return std::nullopt;
  std::int32_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length < static_cast<std::int32_t>(empty_document.size())) return std::nullopt;
  return static_cast<std::size_t>(length);
}

Walk detail::walk(std::string_view document, void* visitor, bool (*visit)(void*, const Element&)) {
  const auto length = document_length(document);
  if (!length || *length != document.size() || document.back() != '\0') return Walk::broken;
  const auto* data = reinterpret_cast<const std::uint8_t*>(document.data());
  bson_iter_t iter;
  if (!bson_iter_init_from_data(&iter, data, document.size())) return Walk::broken;
  std::size_t end = 4;  // of what has been read; the walk is complete where only the terminator is left
  while (bson_iter_next(&iter)) {
    end = iter.next_off;
    Element element;
    element.key = {bson_iter_key(&iter), bson_iter_key_len(&iter)};
    // An element ends where the next one begins; libbson knows both and has a function for the first only.
    element.raw = document.substr(iter.off, iter.next_off - iter.off);
    read_value(iter, element);
    if (!visit(visitor, element)) return Walk::stopped;
  }
  return end + 1 == document.size() ? Walk::complete : Walk::broken;
}

std::optional<Element> find(std::string_view document, std::string_view key) {
  std::optional<Element> found;
  static_cast<void>(for_each(document, [&](const Element& element) {
    if (element.key == key) found = element;
    return !found;
  }));
  return found;
}

void Writer::begin(unsigned char type, std::string_view key) {
  out_ += static_cast<char>(type);
  out_ += key;
  out_ += '\0';
}

Writer& Writer::int32(std::string_view key, std::int32_t value) {
  begin(BSON_TYPE_INT32, key);
  put(out_, &value, sizeof value);
  return *this;
}

Writer& Writer::int64(std::string_view key, std::int64_t value) {
  begin(BSON_TYPE_INT64, key);
  put(out_, &value, sizeof value);
  return *this;
}

Writer& Writer::real(std::string_view key, double value) {
  begin(BSON_TYPE_DOUBLE, key);
  put(out_, &value, sizeof value);
  return *this;
}

Writer& Writer::boolean(std::string_view key, bool value) {
  begin(BSON_TYPE_BOOL, key);
  out_ += value ? '\1' : '\0';
  return *this;
}

Writer& Writer::text(std::string_view key, std::string_view value) {
  begin(BSON_TYPE_UTF8, key);
  put_length(out_, value.size() + 1);
  out_ += value;
  out_ += '\0';
  return *this;
}

Writer& Writer::date(std::string_view key, std::int64_t milliseconds) {
  begin(BSON_TYPE_DATE_TIME, key);
  put(out_, &milliseconds, sizeof milliseconds);
  return *this;
}

Writer& Writer::object_id(std::string_view key, const ObjectId& value) {
  begin(BSON_TYPE_OID, key);
  put(out_, value.data(), value.size());
  return *this;
}

Writer& Writer::binary(std::string_view key, std::string_view value, char subtype) {
  begin(BSON_TYPE_BINARY, key);
  put_length(out_, value.size());
  out_ += subtype;
  out_ += value;
  return *this;
}

Writer& Writer::document(std::string_view key, std::string_view value) {
  begin(BSON_TYPE_DOCUMENT, key);
  out_ += value;
  return *this;
}

Writer& Writer::array(std::string_view key, std::string_view value) {
  begin(BSON_TYPE_ARRAY, key);
  out_ += value;
  return *this;
}

Writer& Writer::texts(std::string_view key, std::initializer_list<std::string_view> values) {
  Writer list;
  std::size_t index = 0;
  for (const auto value : values) list.text(std::to_string(index++), value);
  return array(key, list.finish());
}

std::string Writer::finish() {
  out_ += '\0';
  const auto length = static_cast<std::int32_t>(out_.size());
  std::memcpy(out_.data(), &length, sizeof length);
  return std::move(out_);
}

}  // namespace holdfast::mongo
