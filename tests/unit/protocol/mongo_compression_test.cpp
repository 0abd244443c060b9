// Compressed messages: there and back by each library, what must never be packed, and what is no compressed message.
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>

#include "protocol/mongo/compression.hpp"
#include "protocol/mongo/document.hpp"

namespace holdfast::mongo {
namespace {

constexpr Compressor all[] = {Compressor::snappy, Compressor::zlib, Compressor::zstd};

std::string command(std::string_view name, std::uint32_t flags = 0) {
  Writer body;
  body.int32(name, 1).text("filler", std::string(1000, 'x')).text("$db", "test");
  return make_message(7, 3, flags, body.finish());
}

std::string with_int32(std::string frame, std::size_t at, std::int32_t value) {
  std::memcpy(frame.data() + at, &value, sizeof value);
  return frame;
}

/// With a length that is true again.
std::string resized(std::string frame, std::size_t size) {
  frame.resize(size, '\0');
  return with_int32(std::move(frame), 0, static_cast<std::int32_t>(size));
}

FrameError unpacked(const std::string& frame) {
  std::string into;
  return decompress(frame, into);
}

TEST(MongoCompression, what_was_packed_comes_out_as_it_was) {
  const auto plain = command("find");
  for (const auto compressor : all) {
    for (const int level : {-1, 0, 9}) {
      const auto packed = compress(plain, compressor, level);
      Header header;
      EXPECT_EQ(parse_header(packed, header), FrameError::compressed);
      EXPECT_EQ(header.length, packed.size());
      EXPECT_EQ(header.request_id, 7);
      EXPECT_EQ(header.response_to, 3);
      std::string again;
      EXPECT_EQ(decompress(packed, again), FrameError::none);
      EXPECT_EQ(again, plain);
    }
    EXPECT_LT(compress(plain, compressor, -1).size(), plain.size() / 2);
  }
}

TEST(MongoCompression, names_are_those_of_connection_strings) {
  EXPECT_EQ(compressor_named("snappy"), Compressor::snappy);
  EXPECT_EQ(compressor_named("zlib"), Compressor::zlib);
  EXPECT_EQ(compressor_named("zstd"), Compressor::zstd);
  EXPECT_FALSE(compressor_named("noop"));
}

TEST(MongoCompression, logins_hellos_and_users_are_never_packed) {
  for (const auto* name : {"hello", "isMaster", "ismaster", "saslStart", "saslContinue", "getnonce", "authenticate", "createUser",
                           "updateUser", "copydb", "copydbgetnonce", "copydbSaslStart"}) {
    EXPECT_FALSE(may_be_compressed(command(name))) << name;
  }
  for (const auto* name : {"find", "insert", "helloWorld", "getMore", "usersInfo"}) EXPECT_TRUE(may_be_compressed(command(name))) << name;
  // The body need not come first.
  std::string document = std::string(empty_document);
  auto login = make_message(1, 0, 0, Writer().int32("saslStart", 1).finish(), {{"documents", document}});
  const auto body_size = Writer().int32("saslStart", 1).finish().size() + 1;
  const auto body = login.substr(header_size + 4, body_size);
  login.erase(header_size + 4, body_size);
  login += body;
  Message read;
  ASSERT_EQ(parse_message(login, read), FrameError::none);
  EXPECT_FALSE(may_be_compressed(login));
}

TEST(MongoCompression, what_would_be_no_shorter_goes_as_it_is) {
  std::string noise(47'000'000, '\0');
  std::mt19937_64 random(1);
  for (std::size_t at = 0; at < noise.size(); at += sizeof(std::uint64_t)) {
    const auto word = random();
    std::memcpy(noise.data() + at, &word, sizeof word);
  }
  const auto document = Writer().binary("x", noise, 0).finish();
  const auto long_one = make_message(1, 0, 0, Writer().text("insert", "c").finish(), {{"documents", document}});
  const auto short_one = make_message(1, 0, 0, Writer().int32("ping", 1).finish());
  const auto shrinks = make_message(1, 0, 0, Writer().text("insert", std::string(1'000, 'x')).finish());
  const auto login = make_message(1, 0, 0, Writer().text("saslStart", std::string(1'000, 'x')).finish());
  for (const auto compressor : all) {
    EXPECT_GE(compress(long_one, compressor, 0).size(), long_one.size()) << "else it shows nothing";
    EXPECT_TRUE(compress_if_shorter(long_one, compressor, 0).empty());
    EXPECT_TRUE(compress_if_shorter(short_one, compressor, -1).empty());
    EXPECT_TRUE(compress_if_shorter(login, compressor, -1).empty());
    EXPECT_EQ(compress_if_shorter(shrinks, compressor, -1), compress(shrinks, compressor, -1));
  }
}

TEST(MongoCompression, what_cannot_be_read_or_has_a_checksum_goes_as_it_is) {
  EXPECT_FALSE(may_be_compressed("short"));
  EXPECT_FALSE(may_be_compressed(make_message(1, 0, 0, empty_document)));
  auto frame = resized(command("find"), command("find").size() + 4);
  frame = with_int32(frame, header_size, flag::checksum_present);
  frame = with_int32(frame, frame.size() - 4, static_cast<std::int32_t>(crc32c(std::string_view(frame).substr(0, frame.size() - 4))));
  Message read;
  ASSERT_EQ(parse_message(frame, read), FrameError::none);
  EXPECT_FALSE(may_be_compressed(frame));
}

TEST(MongoCompression, a_stated_size_is_compared_with_its_limit_before_memory_is_taken) {
  const auto packed = compress(command("find"), Compressor::zstd, -1);
  constexpr std::size_t size_at = header_size + 4;
  for (const auto size : {-1, INT32_MIN, INT32_MAX, static_cast<std::int32_t>(message_length_max)}) {
    EXPECT_EQ(unpacked(with_int32(packed, size_at, size)), FrameError::bad_length) << size;
  }
}

TEST(MongoCompression, a_size_that_is_not_that_of_the_content_is_an_error) {
  const auto plain = command("find");
  const auto right = static_cast<std::int32_t>(plain.size() - header_size);
  for (const auto compressor : all) {
    const auto packed = compress(plain, compressor, -1);
    for (const auto size : {0, 1, right - 1, right + 1, right * 100}) {
      EXPECT_EQ(unpacked(with_int32(packed, header_size + 4, size)), FrameError::bad_compression) << size;
    }
  }
}

TEST(MongoCompression, every_prefix_and_every_unknown_part_is_an_error) {
  for (const auto compressor : all) {
    const auto packed = compress(command("find"), compressor, -1);
    for (std::size_t size = 0; size < packed.size(); ++size) {
      EXPECT_NE(unpacked(packed.substr(0, size)), FrameError::none) << size;
      if (size < header_size) continue;
      EXPECT_EQ(unpacked(resized(packed, size)), FrameError::bad_compression) << size;
    }
    EXPECT_EQ(unpacked(resized(packed, packed.size() + 3)), FrameError::bad_compression) << "bytes behind the content";
    for (const char other : {'\0', '\4', '\x7f'}) {
      auto unknown = packed;
      unknown[header_size + 8] = other;
      EXPECT_EQ(unpacked(unknown), FrameError::bad_compression);
    }
    for (const auto inner : {opcode::compressed, opcode::query, 0}) {
      EXPECT_EQ(unpacked(with_int32(packed, header_size, inner)), FrameError::bad_opcode);
    }
  }
  EXPECT_EQ(unpacked(command("find")), FrameError::bad_opcode) << "not compressed at all";
}

}  // namespace
}  // namespace holdfast::mongo
