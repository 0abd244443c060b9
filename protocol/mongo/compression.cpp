// The only user of zlib, libzstd and snappy.
#include "protocol/mongo/compression.hpp"

#include <snappy.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <utility>

#include "protocol/mongo/document.hpp"

namespace holdfast::mongo {

namespace {

constexpr std::size_t prefix_size = 4 + 4 + 1;

/// In lower case: servers know some of them in two spellings.
constexpr std::array never_compressed{"hello",        "ismaster",   "saslstart",  "saslcontinue",    "getnonce",   "authenticate",
                                      "createuser",   "updateuser", "copydb",     "copydbgetnonce", "copydbsaslstart"};

std::int32_t int32_at(std::string_view bytes, std::size_t at) {
  std::int32_t value = 0;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

void put_int32(std::string& out, std::int32_t value) { out.append(reinterpret_cast<const char*>(&value), sizeof value); }

std::string command_name(std::string_view body) {
  std::string name;
  static_cast<void>(for_each(body, [&](const Element& first) {
    name = first.key;
    return false;
  }));
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c); });
  return name;
}

/// Appends `plain`, packed. The libraries fail only where there is no memory.
void pack(std::string_view plain, Compressor compressor, int zlib_level, std::string& out) {
  const auto start = out.size();
  std::size_t size = 0;
  switch (compressor) {
    case Compressor::snappy:
      out.resize(start + snappy::MaxCompressedLength(plain.size()));
      snappy::RawCompress(plain.data(), plain.size(), out.data() + start, &size);
      break;
    case Compressor::zlib: {
      uLongf length = compressBound(plain.size());
      out.resize(start + length);
      const auto result = compress2(reinterpret_cast<Bytef*>(out.data() + start), &length, reinterpret_cast<const Bytef*>(plain.data()),
                                    plain.size(), zlib_level);
      if (result != Z_OK) throw std::bad_alloc();
      size = length;
      break;
    }
    case Compressor::zstd:
      out.resize(start + ZSTD_compressBound(plain.size()));
      size = ZSTD_compress(out.data() + start, out.size() - start, plain.data(), plain.size(), ZSTD_CLEVEL_DEFAULT);
      if (ZSTD_isError(size) != 0) throw std::bad_alloc();
      break;
  }
  out.resize(start + size);
}

/// Fills all of [into, into + size) from `packed`, and uses all of that.
bool unpack(std::string_view packed, std::uint8_t compressor, char* into, std::size_t size) {
  switch (static_cast<Compressor>(compressor)) {
    case Compressor::snappy: {
      std::size_t stated = 0;
      return snappy::GetUncompressedLength(packed.data(), packed.size(), &stated) && stated == size &&
             snappy::RawUncompress(packed.data(), packed.size(), into);
    }
    case Compressor::zlib: {
      uLongf length = size;
      uLong used = packed.size();
      const auto result = uncompress2(reinterpret_cast<Bytef*>(into), &length, reinterpret_cast<const Bytef*>(packed.data()), &used);
      return result == Z_OK && length == size && used == packed.size();
    }
    case Compressor::zstd: return ZSTD_decompress(into, size, packed.data(), packed.size()) == size;
  }
  return false;
}

}  // namespace

std::optional<Compressor> compressor_named(std::string_view name) {
  if (name == "snappy") return Compressor::snappy;
  if (name == "zlib") return Compressor::zlib;
  if (name == "zstd") return Compressor::zstd;
  return std::nullopt;
}

bool may_be_compressed(std::string_view frame) {
  Message message;
  if (parse_message(frame, message) != FrameError::none || (message.flags & flag::checksum_present) != 0) return false;
  const auto name = command_name(message.body);
  return !name.empty() && std::ranges::find(never_compressed, name) == never_compressed.end();
}

std::string compress(std::string_view frame, Compressor compressor, int zlib_level) {
  std::string out(frame.substr(0, header_size));
  put_int32(out, int32_at(frame, 12));
  put_int32(out, static_cast<std::int32_t>(frame.size() - header_size));
  out += static_cast<char>(compressor);
  pack(frame.substr(header_size), compressor, zlib_level, out);
  const std::array header{static_cast<std::int32_t>(out.size()), int32_at(frame, 4), int32_at(frame, 8), opcode::compressed};
  std::memcpy(out.data(), header.data(), header_size);
  return out;
}

std::string compress_if_shorter(std::string_view frame, Compressor compressor, int zlib_level) {
  if (!may_be_compressed(frame)) return {};
  auto packed = compress(frame, compressor, zlib_level);
  return packed.size() < frame.size() ? std::move(packed) : std::string();
}

FrameError decompress(std::string_view frame, std::string& into) {
  Header header;
  if (frame.size() < header_size) return FrameError::bad_length;
  const auto error = parse_header(frame, header);
  if (error != FrameError::compressed) return error == FrameError::none ? FrameError::bad_opcode : error;
  if (header.length != frame.size()) return FrameError::bad_length;
  if (frame.size() < header_size + prefix_size) return FrameError::bad_compression;
  if (int32_at(frame, header_size) != opcode::message) return FrameError::bad_opcode;
  const auto stated = int32_at(frame, header_size + 4);
  if (stated < 0 || stated > static_cast<std::int32_t>(message_length_max - header_size)) return FrameError::bad_length;
  const auto size = static_cast<std::size_t>(stated);
  const auto compressor = static_cast<std::uint8_t>(frame[header_size + 8]);
  into.resize(header_size + size);
  if (!unpack(frame.substr(header_size + prefix_size), compressor, into.data() + header_size, size)) return FrameError::bad_compression;
  const std::array plain{static_cast<std::int32_t>(into.size()), header.request_id, header.response_to, opcode::message};
  std::memcpy(into.data(), plain.data(), header_size);
  return FrameError::none;
}

}  // namespace holdfast::mongo
