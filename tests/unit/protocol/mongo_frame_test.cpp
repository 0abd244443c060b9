// Messages at every prefix, with every length around the limits, with every kind of section mistake.
#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <string>

#include "protocol/mongo/document.hpp"
#include "protocol/mongo/frame.hpp"

namespace holdfast::mongo {
namespace {

std::string body(std::string_view name = "ping") {
  Writer writer;
  return writer.int32(name, 1).text("$db", "admin").finish();
}

std::string number(std::int32_t value) { return {reinterpret_cast<const char*>(&value), sizeof value}; }

void set_length(std::string& frame) {
  const auto length = static_cast<std::int32_t>(frame.size());
  std::memcpy(frame.data(), &length, sizeof length);
}

/// An OP_MSG with these flags around raw sections.
std::string raw_message(std::uint32_t flags, const std::string& sections) {
  auto frame = number(0) + number(7) + number(0) + number(opcode::message) + number(static_cast<std::int32_t>(flags)) + sections;
  set_length(frame);
  return frame;
}

std::string with_checksum(std::string frame) {
  std::uint32_t flags = 0;
  std::memcpy(&flags, frame.data() + header_size, sizeof flags);
  flags |= flag::checksum_present;
  std::memcpy(frame.data() + header_size, &flags, sizeof flags);
  frame += "1234";
  set_length(frame);
  const auto sum = crc32c(std::string_view(frame).substr(0, frame.size() - 4));
  std::memcpy(frame.data() + frame.size() - 4, &sum, sizeof sum);
  return frame;
}

FrameError parse(std::string_view frame) {
  Message message;
  return parse_message(frame, message);
}

TEST(MongoFrame, a_message_with_a_body_and_sequences_is_read_as_it_was_made) {
  const auto first = body("a"), second = body("b");
  const auto documents = first + second;
  const auto frame = make_message(3, 4, flag::more_to_come, body("insert"), {{"documents", documents}, {"others", {}}});
  Message message;
  ASSERT_EQ(parse_message(frame, message), FrameError::none);
  EXPECT_EQ(message.header.request_id, 3);
  EXPECT_EQ(message.header.response_to, 4);
  EXPECT_EQ(message.flags, flag::more_to_come);
  EXPECT_EQ(message.body, body("insert"));
  ASSERT_EQ(message.sequences.size(), 2U);
  EXPECT_EQ(message.sequences[0].name, "documents");
  std::string seen;
  for_each_document(message.sequences[0], [&](std::string_view each) { seen += each; });
  EXPECT_EQ(seen, documents);
  EXPECT_TRUE(message.sequences[1].documents.empty());
}

TEST(MongoFrame, the_body_may_stand_behind_a_sequence) {
  const auto frame = raw_message(0, '\1' + number(4 + 2) + "d" + '\0' + '\0' + body());
  Message message;
  ASSERT_EQ(parse_message(frame, message), FrameError::none);
  EXPECT_EQ(message.body, body());
}

TEST(MongoFrame, no_prefix_of_a_message_is_a_message) {
  const auto documents = body();
  const auto frame = make_message(1, 0, 0, body("insert"), {{"documents", documents}});
  const auto without_sequence = header_size + 4 + 1 + body("insert").size();
  for (std::size_t size = 0; size < frame.size(); ++size) {
    EXPECT_NE(parse(std::string_view(frame).substr(0, size)), FrameError::none) << size;
    auto shortened = frame.substr(0, size);
    if (size < 4 || size == without_sequence) continue;
    set_length(shortened);
    EXPECT_NE(parse(shortened), FrameError::none) << size;
  }
}

TEST(MongoFrame, a_length_is_compared_with_its_limits_before_anything_else) {
  auto frame = make_message(1, 0, 0, body());
  for (const std::int64_t length : {0LL, 1LL, 15LL, 48'000'001LL, 0x7fffffffLL, 0x80000000LL, 0xffffffffLL}) {
    const auto stated = static_cast<std::uint32_t>(length);
    std::memcpy(frame.data(), &stated, sizeof stated);
    Header header;
    EXPECT_EQ(parse_header(frame, header), FrameError::bad_length) << length;
    EXPECT_TRUE(closes(FrameError::bad_length));
  }
  for (const std::uint32_t stated : {16U, 48'000'000U}) {
    std::memcpy(frame.data(), &stated, sizeof stated);
    Header header;
    EXPECT_EQ(parse_header(frame, header), FrameError::none) << stated;
    EXPECT_EQ(header.length, stated);
  }
}

TEST(MongoFrame, that_arrives_says_how_much_of_it_is_wanted) {
  const auto frame = make_message(1, 0, 0, body());
  for (std::size_t size = 0; size <= frame.size(); ++size) {
    const auto arrival = arrival_of(std::string_view(frame).substr(0, size));
    EXPECT_EQ(arrival.error, FrameError::none);
    EXPECT_EQ(arrival.wanted, size < header_size ? header_size : frame.size()) << size;
    EXPECT_EQ(arrival.whole, size == frame.size()) << size;
  }
  EXPECT_EQ(arrival_of(frame + frame).wanted, frame.size());
  EXPECT_TRUE(arrival_of(frame + "more").whole);
  auto packed = frame;
  std::memcpy(packed.data() + 12, &opcode::compressed, 4);
  EXPECT_EQ(arrival_of(packed).error, FrameError::compressed);
  EXPECT_TRUE(arrival_of(packed).whole);
  EXPECT_FALSE(arrival_of(std::string(header_size, '\0')).whole);
  EXPECT_EQ(arrival_of(std::string(header_size, '\0')).error, FrameError::bad_length);
}

TEST(MongoFrame, legacy_and_unknown_opcodes_end_the_connection_and_so_does_compression) {
  for (const std::int32_t code : {0, 2, 1000, 2001, 2002, 2005, 2006, 2007, 2010, 2014, -1}) {
    auto frame = make_message(1, 0, 0, body());
    std::memcpy(frame.data() + 12, &code, sizeof code);
    Header header;
    EXPECT_EQ(parse_header(frame, header), FrameError::bad_opcode) << code;
  }
  auto frame = make_message(1, 0, 0, body());
  std::memcpy(frame.data() + 12, &opcode::compressed, 4);
  Header header;
  EXPECT_EQ(parse_header(frame, header), FrameError::compressed);
  EXPECT_TRUE(closes(FrameError::compressed) && closes(FrameError::bad_opcode));
}

TEST(MongoFrame, mistakes_of_sections_are_answered_with_the_code_that_servers_give) {
  const auto section = '\0' + body();
  const auto sequence = '\1' + number(4 + 2) + "d" + '\0';
  const std::pair<std::string, FrameError> cases[] = {
      {"", FrameError::no_body},
      {sequence, FrameError::no_body},
      {section + section, FrameError::two_bodies},
      {section + sequence + sequence, FrameError::same_sequence},
      {section + '\2', FrameError::unknown_section},
      {'\0' + body().substr(0, 9), FrameError::truncated},
      {std::string(1, '\0'), FrameError::truncated},
      {'\0' + number(4), FrameError::bad_document},
      {'\0' + number(0x7fffffff), FrameError::truncated},
      {'\0' + number(-1), FrameError::bad_document},
      {section + '\1' + number(3) + "abc", FrameError::truncated},
      {section + '\1' + number(0x7fffffff), FrameError::truncated},
      {section + '\1' + number(6) + "ab", FrameError::truncated},                       // no end of the name
      {section + '\1' + number(10) + "d" + '\0' + number(5), FrameError::truncated},    // a document that goes on
  };
  for (const auto& [sections, error] : cases) {
    EXPECT_EQ(parse(raw_message(0, sections)), error) << sentence_of(error);
    EXPECT_FALSE(closes(error));
    EXPECT_NE(code_of(error), 0);
  }
}

TEST(MongoFrame, a_million_sections_keep_nobody_waiting) {
  std::string sections = '\0' + body();
  for (int i = 0; i < 1'000'000; ++i) {
    const auto name = std::to_string(i);
    sections += '\1' + number(static_cast<std::int32_t>(4 + name.size() + 1)) + name + '\0';
  }
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(parse(raw_message(0, sections)), FrameError::many_sequences);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(10));
}

TEST(MongoFrame, sequences_are_read_up_to_their_number) {
  std::string sections = '\0' + body();
  for (std::size_t i = 0; i < sequences_max; ++i) {
    const auto name = std::to_string(i);
    sections += '\1' + number(static_cast<std::int32_t>(4 + name.size() + 1)) + name + '\0';
  }
  EXPECT_EQ(parse(raw_message(0, sections)), FrameError::none);
  EXPECT_EQ(parse(raw_message(0, sections + '\1' + number(6) + "x" + '\0')), FrameError::many_sequences);
  EXPECT_FALSE(closes(FrameError::many_sequences));
}

TEST(MongoFrame, a_request_has_a_body_that_servers_take_and_a_reply_may_have_any) {
  const auto body_of = [](std::size_t size) {
    Writer none, writer;
    const auto without = none.binary("ping", {}, 0).finish().size();
    return writer.binary("ping", std::string(size - without, 'x'), 0).finish();
  };
  const auto as_query = [](std::string_view of) {
    auto frame = number(0) + number(9) + number(0) + number(opcode::query) + number(4) + std::string("admin.$cmd") + '\0' + number(0) + number(-1);
    frame += of;
    set_length(frame);
    return frame;
  };
  const auto fits = body_of(body_length_max), exceeds = body_of(body_length_max + 1);
  Message message;
  EXPECT_EQ(parse_request(make_message(1, 0, 0, fits), message), FrameError::none);
  EXPECT_EQ(parse_request(as_query(fits), message = {}), FrameError::none);
  EXPECT_EQ(parse_request(as_query(exceeds), message = {}), FrameError::long_body);
  EXPECT_EQ(parse_request(make_message(1, 0, 0, exceeds), message = {}), FrameError::long_body);
  EXPECT_EQ(message.header.request_id, 1);
  EXPECT_EQ(code_of(FrameError::long_body), 10334);
  EXPECT_FALSE(closes(FrameError::long_body));
  EXPECT_EQ(parse(make_message(1, 0, 0, exceeds)), FrameError::none);
}

TEST(MongoFrame, a_checksum_is_checked) {
  const auto frame = with_checksum(make_message(1, 0, 0, body()));
  EXPECT_EQ(crc32c("123456789"), 0xE3069283U);
  EXPECT_EQ(parse(frame), FrameError::none);
  for (std::size_t at = header_size + 4; at < frame.size(); ++at) {
    auto changed = frame;
    changed[at] = static_cast<char>(changed[at] ^ 1);
    EXPECT_EQ(parse(changed), FrameError::bad_checksum) << at;
  }
  EXPECT_EQ(parse(raw_message(flag::checksum_present, "abc")), FrameError::bad_checksum);
}

TEST(MongoFrame, a_required_flag_that_is_not_known_ends_the_connection_and_an_optional_one_does_not) {
  EXPECT_EQ(parse(raw_message(4, '\0' + body())), FrameError::unknown_flag);
  EXPECT_EQ(parse(raw_message(1U << 15, '\0' + body())), FrameError::unknown_flag);
  EXPECT_EQ(parse(raw_message(1U << 17, '\0' + body())), FrameError::none);
  EXPECT_EQ(parse(raw_message(flag::exhaust_allowed, '\0' + body())), FrameError::none);
}

TEST(MongoFrame, op_query_is_read_and_cut_at_every_byte_refused) {
  auto frame = number(0) + number(9) + number(0) + number(opcode::query) + number(4) + std::string("admin.$cmd") + '\0' +
               number(0) + number(-1) + body("isMaster");
  set_length(frame);
  Message message;
  ASSERT_EQ(parse_query(frame, message), FrameError::none);
  EXPECT_EQ(message.collection, "admin.$cmd");
  EXPECT_EQ(message.body, body("isMaster"));
  for (std::size_t size = 16; size < frame.size(); ++size) {
    auto shortened = frame.substr(0, size);
    set_length(shortened);
    Message none;
    EXPECT_EQ(parse_query(shortened, none), FrameError::bad_query) << size;
  }
}

TEST(MongoFrame, an_answer_comes_in_the_opcode_of_the_request) {
  Message query, message;
  query.header = {0, 5, 0, opcode::query};
  message.header = {0, 6, 0, opcode::message};
  Header header;
  const auto reply = make_answer(1, query, body());
  ASSERT_EQ(parse_header(reply, header), FrameError::none);
  EXPECT_EQ(header.opcode, opcode::reply);
  EXPECT_EQ(header.response_to, 5);
  EXPECT_EQ(header.length, reply.size());
  const auto answer = make_answer(1, message, body());
  ASSERT_EQ(parse_header(answer, header), FrameError::none);
  EXPECT_EQ(header.opcode, opcode::message);
  EXPECT_EQ(header.response_to, 6);
  EXPECT_EQ(parse(answer), FrameError::none);
}

}  // namespace
}  // namespace holdfast::mongo
