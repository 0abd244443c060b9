// Headers and fields of the PostgreSQL protocol, byte by byte and at every limit.
#include "protocol/postgres/frame.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

namespace holdfast::postgres {
namespace {

std::string header_with(char type, std::uint32_t length) {
  std::string bytes(5, '\0');
  bytes[0] = type;
  store_u32(bytes.data() + 1, length);
  return bytes;
}

TEST(frame, asks_for_more_until_a_header_is_there) {
  const auto bytes = header_with('Q', 4);
  Header header;
  for (std::size_t size = 0; size < header_size; ++size) {
    EXPECT_EQ(read_header(std::string_view(bytes).substr(0, size), header), HeaderResult::need_more) << size;
  }
  ASSERT_EQ(read_header(bytes, header), HeaderResult::complete);
  EXPECT_EQ(header.type, 'Q');
  EXPECT_EQ(header.size, 5U);
}

TEST(frame, refuses_every_length_outside_its_bounds) {
  Header header;
  for (const std::uint32_t length : {0U, 1U, 3U, message_length_max + 1, 0x40000000U, 0x7fffffffU, 0x80000000U,
                                     0xfffffffbU, 0xffffffffU}) {
    EXPECT_EQ(read_header(header_with('Q', length), header), HeaderResult::bad_length) << length;
  }
  for (const std::uint32_t length : {4U, 5U, 0xffffU, 0x10000U, message_length_max - 1, message_length_max}) {
    ASSERT_EQ(read_header(header_with('D', length), header), HeaderResult::complete) << length;
    EXPECT_EQ(header.size, std::size_t{length} + 1);
  }
}

TEST(frame, stores_and_loads_every_byte_of_a_number) {
  char bytes[4];
  for (const std::uint32_t value : {0U, 1U, 0x80U, 0xffU, 0x8000U, 0x12345678U, 0x80000000U, 0xffffffffU}) {
    store_u32(bytes, value);
    EXPECT_EQ(load_u32(bytes), value);
  }
  store_u32(bytes, 0x01020304);
  EXPECT_EQ(std::string(bytes, 4), std::string("\x01\x02\x03\x04", 4));
}

TEST(frame, reads_back_what_it_wrote) {
  std::string bytes;
  Writer(bytes, 'x').u8(200).i16(-2).i32(-3).cstring("name").bytes("rest").finish();
  Header header;
  ASSERT_EQ(read_header(bytes, header), HeaderResult::complete);
  ASSERT_EQ(header.size, bytes.size());
  Reader reader(std::string_view(bytes).substr(header_size));
  EXPECT_EQ(reader.u8(), 200);
  EXPECT_EQ(reader.i16(), -2);
  EXPECT_EQ(reader.i32(), -3);
  EXPECT_EQ(reader.cstring(), "name");
  EXPECT_FALSE(reader.check()) << "four bytes are left over";
  EXPECT_EQ(reader.take(4), "rest");
  EXPECT_TRUE(reader.check());
}

TEST(frame, writes_several_messages_behind_one_another) {
  std::string bytes;
  Writer(bytes, 'a').u8(1).finish();
  Writer(bytes, 0).i32(7).finish();
  EXPECT_EQ(bytes, std::string("a\0\0\0\5\1\0\0\0\x08\0\0\0\7", 14));
}

TEST(frame, fails_for_good_once_a_field_is_missing) {
  Reader reader(std::string_view("\0\1ab", 4));
  EXPECT_EQ(reader.i32(), 0x00016162);
  EXPECT_FALSE(reader.failed());
  EXPECT_EQ(reader.u8(), 0);
  EXPECT_TRUE(reader.failed());
  EXPECT_EQ(reader.take(0), "");
  EXPECT_FALSE(reader.check());
}

TEST(frame, fails_for_good_on_a_string_without_its_end) {
  Reader reader("abc");
  EXPECT_EQ(reader.cstring(), "");
  EXPECT_EQ(reader.u8(), 0) << "later reads give nothing, though bytes are left";
  EXPECT_EQ(reader.i16(), 0);
  EXPECT_EQ(reader.i32(), 0);
  EXPECT_FALSE(reader.check());
}

TEST(frame, takes_no_more_than_there_is) {
  for (const std::size_t size : {std::size_t{4}, std::size_t{0xffffffff}, ~std::size_t{0}}) {
    Reader reader("abc");
    EXPECT_EQ(reader.take(size), "");
    EXPECT_TRUE(reader.failed());
  }
  Reader all("abc");
  EXPECT_EQ(all.take(3), "abc");
  EXPECT_TRUE(all.check());
}

}  // namespace
}  // namespace holdfast::postgres
