// Any bytes as a compressed message, and as the content of one: unpacked without a fault, and what comes out can be packed again.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "protocol/mongo/compression.hpp"

using namespace holdfast::mongo;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

void there_and_back(std::string_view frame) {
  for (const auto compressor : {Compressor::snappy, Compressor::zlib, Compressor::zstd}) {
    std::string again;
    require(decompress(compress(frame, compressor, -1), again) == FrameError::none && again == frame);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  std::string plain;
  if (decompress(bytes, plain) == FrameError::none) there_and_back(plain);
  static_cast<void>(may_be_compressed(bytes));
  // The fuzzer gets at the libraries without finding a header first: the first byte names one, the next two a size.
  if (size < 3) return 0;
  std::string frame = compress(make_message(1, 0, 0, std::string_view("\x05\0\0\0\0", 5)), Compressor::zlib, 0).substr(0, header_size + 8);
  frame += static_cast<char>(bytes[0] % 4);
  frame.append(bytes.substr(3));
  const auto length = static_cast<std::int32_t>(frame.size());
  const std::int32_t stated = static_cast<unsigned char>(bytes[1]) * 256 + static_cast<unsigned char>(bytes[2]);
  frame.replace(0, sizeof length, reinterpret_cast<const char*>(&length), sizeof length);
  frame.replace(header_size + 4, sizeof stated, reinterpret_cast<const char*>(&stated), sizeof stated);
  if (decompress(frame, plain) == FrameError::none) there_and_back(plain);
  return 0;
}
