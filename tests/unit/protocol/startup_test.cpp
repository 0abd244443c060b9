// Startup packets as drivers, probes and strangers send them.
#include "protocol/postgres/startup.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace holdfast::postgres {
namespace {

using namespace std::string_view_literals;

std::string packet(std::int32_t code, std::string_view rest) {
  std::string out;
  Writer(out, 0).i32(code).bytes(rest).finish();
  return out;
}

/// Shown one byte more at a time, as a slow client sends it: nothing is decided before the last one.
StartupResult parse_slowly(const std::string& bytes, Startup& startup, std::size_t& used) {
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const std::vector<char> prefix(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
    const auto result = parse_startup({prefix.data(), prefix.size()}, startup, used);
    if (result != StartupResult::need_more) return result;
    EXPECT_EQ(used, 0U);
  }
  return parse_startup(bytes, startup, used);
}

TEST(startup, reads_a_startup_packet_that_comes_byte_by_byte) {
  for (const auto version : {protocol_3_0, protocol_3_2}) {
    std::string bytes;
    write_startup(bytes, version, {{"user", "app"}, {"database", "orders"}, {"options", ""}});
    Startup startup;
    std::size_t used = 0;
    ASSERT_EQ(parse_slowly(bytes, startup, used), StartupResult::complete);
    EXPECT_EQ(used, bytes.size());
    EXPECT_EQ(startup.kind, Startup::Kind::startup);
    EXPECT_EQ(startup.version, version);
    EXPECT_EQ(startup.parameter("user"), "app");
    EXPECT_EQ(startup.parameter("database"), "orders");
    EXPECT_EQ(startup.parameter("nothing"), "");
    EXPECT_EQ(startup.parameters.size(), 3U);
  }
}

TEST(startup, uses_only_its_own_bytes_of_what_is_there) {
  std::string bytes;
  write_ssl_request(bytes);
  const auto size = bytes.size();
  write_startup(bytes, protocol_3_0, {{"user", "app"}});
  Startup startup;
  std::size_t used = 0;
  ASSERT_EQ(parse_startup(bytes, startup, used), StartupResult::complete);
  EXPECT_EQ(startup.kind, Startup::Kind::ssl_request);
  EXPECT_EQ(used, size);
  ASSERT_EQ(parse_startup(std::string_view(bytes).substr(used), startup, used), StartupResult::complete);
  EXPECT_EQ(startup.kind, Startup::Kind::startup);
  EXPECT_EQ(startup.parameter("user"), "app");
}

TEST(startup, takes_the_last_of_two_parameters_of_one_name) {
  Startup startup;
  std::size_t used = 0;
  ASSERT_EQ(parse_startup(packet(protocol_3_0, "user\0a\0user\0b\0\0"sv), startup, used), StartupResult::complete);
  EXPECT_EQ(startup.parameter("user"), "b");
}

TEST(startup, knows_requests_for_encryption) {
  Startup startup;
  std::size_t used = 0;
  EXPECT_EQ(parse_slowly(packet(80877103, ""), startup, used), StartupResult::complete);
  EXPECT_EQ(startup.kind, Startup::Kind::ssl_request);
  EXPECT_EQ(parse_slowly(packet(80877104, ""), startup, used), StartupResult::complete);
  EXPECT_EQ(startup.kind, Startup::Kind::gss_request);
  EXPECT_EQ(parse_slowly(packet(80877103, "x"), startup, used), StartupResult::bad_packet);
}

TEST(startup, takes_cancel_keys_of_4_to_256_bytes) {
  for (const std::size_t size : {0U, 3U, 4U, 5U, 32U, 255U, 256U, 257U, 1000U}) {
    const std::string key(size, '\x80');
    std::string bytes;
    write_cancel_request(bytes, -7, key);
    Startup startup;
    std::size_t used = 0;
    const auto result = parse_slowly(bytes, startup, used);
    if (size < 4 || size > 256) {
      EXPECT_EQ(result, StartupResult::bad_packet) << size;
      continue;
    }
    ASSERT_EQ(result, StartupResult::complete) << size;
    EXPECT_EQ(startup.kind, Startup::Kind::cancel);
    EXPECT_EQ(startup.process_id, -7);
    EXPECT_EQ(startup.secret_key, key);
  }
}

TEST(startup, refuses_every_length_outside_its_bounds_before_it_waits_for_bytes) {
  for (const std::uint32_t length : {0U, 4U, 7U, startup_length_max + 1, 0x7fffffffU, 0x80000000U, 0xffffffffU}) {
    std::string bytes(4, '\0');
    store_u32(bytes.data(), length);
    Startup startup;
    std::size_t used = 0;
    EXPECT_EQ(parse_startup(bytes, startup, used), StartupResult::bad_length) << length;
  }
  for (const std::uint32_t length : {8U, 9U, startup_length_max}) {
    std::string bytes(4, '\0');
    store_u32(bytes.data(), length);
    Startup startup;
    std::size_t used = 0;
    EXPECT_EQ(parse_startup(bytes, startup, used), StartupResult::need_more) << length;
  }
}

TEST(startup, takes_a_packet_of_the_greatest_length) {
  std::string rest("user\0"sv);
  rest.append(startup_length_max - 8 - rest.size() - 2, 'a').append(2, '\0');
  const auto bytes = packet(protocol_3_0, rest);
  ASSERT_EQ(bytes.size(), startup_length_max);
  Startup startup;
  std::size_t used = 0;
  EXPECT_EQ(parse_startup(bytes, startup, used), StartupResult::complete);
  EXPECT_EQ(startup.parameter("user").size(), startup_length_max - 8 - 7);
}

TEST(startup, refuses_other_protocols) {
  Startup startup;
  std::size_t used = 0;
  EXPECT_EQ(parse_startup(packet(2 << 16, ""), startup, used), StartupResult::unsupported_version);
  EXPECT_EQ(parse_startup(packet(4 << 16, ""), startup, used), StartupResult::unsupported_version);
  EXPECT_EQ(parse_startup(packet(-1, ""), startup, used), StartupResult::unsupported_version);
  EXPECT_EQ(parse_startup("GET / HTTP/1.1\r\n\r\n", startup, used), StartupResult::bad_length);
  EXPECT_EQ(parse_startup("\x16\x03\x01\x02\x00\x01\x00\x01\xfc"sv, startup, used), StartupResult::bad_length)
      << "a TLS ClientHello without its SSLRequest";
}

TEST(startup, refuses_parameters_that_do_not_add_up) {
  Startup startup;
  std::size_t used = 0;
  EXPECT_EQ(parse_startup(packet(protocol_3_0, ""), startup, used), StartupResult::bad_packet);
  EXPECT_EQ(parse_startup(packet(protocol_3_0, "user\0"sv), startup, used), StartupResult::bad_packet);
  EXPECT_EQ(parse_startup(packet(protocol_3_0, "user\0app\0"sv), startup, used), StartupResult::bad_packet);
  EXPECT_EQ(parse_startup(packet(protocol_3_0, "user\0app"sv), startup, used), StartupResult::bad_packet);
  EXPECT_EQ(parse_startup(packet(protocol_3_0, "user\0app\0\0x"sv), startup, used), StartupResult::bad_packet);
}

TEST(startup, tells_replication_connections_from_others) {
  Startup startup;
  for (const auto* value : {"", "false", "off", "no", "0"}) {
    startup.parameters = {{"replication", value}};
    EXPECT_FALSE(startup.is_replication()) << value;
  }
  for (const auto* value : {"true", "on", "yes", "1", "database"}) {
    startup.parameters = {{"replication", value}};
    EXPECT_TRUE(startup.is_replication()) << value;
  }
}

TEST(startup, reads_back_what_sasl_says) {
  std::string out;
  write_sasl_initial(out, "SCRAM-SHA-256", "n,,n=,r=abc");
  SaslInitial initial;
  ASSERT_TRUE(parse_sasl_initial(std::string_view(out).substr(header_size), initial));
  EXPECT_EQ(initial.mechanism, "SCRAM-SHA-256");
  EXPECT_EQ(initial.data, "n,,n=,r=abc");
  for (std::size_t size = header_size; size < out.size(); ++size) {
    EXPECT_FALSE(parse_sasl_initial(std::string_view(out).substr(header_size, size - header_size), initial));
  }
  EXPECT_TRUE(parse_sasl_initial("M\0\xff\xff\xff\xff"sv, initial)) << "no initial response is allowed";
  EXPECT_EQ(initial.data, "");

  std::vector<std::string_view> mechanisms;
  ASSERT_TRUE(parse_sasl_mechanisms("SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"sv, mechanisms));
  ASSERT_EQ(mechanisms.size(), 2U);
  EXPECT_EQ(mechanisms[0], "SCRAM-SHA-256-PLUS");
  EXPECT_FALSE(parse_sasl_mechanisms("SCRAM-SHA-256\0"sv, mechanisms));
  EXPECT_FALSE(parse_sasl_mechanisms("SCRAM-SHA-256\0\0x"sv, mechanisms));
}

TEST(startup, writes_the_answers_of_a_server) {
  std::string out;
  write_authentication(out, authentication::sasl_final, "v=x");
  write_backend_key_data(out, 258, "\1\2\3\4");
  write_negotiate_version(out, protocol_3_0, {"_pq_.a"});
  write_password(out, "pw");
  write_sasl_response(out, "c");
  EXPECT_EQ(out, "R\0\0\0\x0b\0\0\0\x0cv=x"
                 "K\0\0\0\x0c\0\0\1\2\1\2\3\4"
                 "v\0\0\0\x13\0\3\0\0\0\0\0\1_pq_.a\0"
                 "p\0\0\0\7pw\0"
                 "p\0\0\0\5c"sv);
}

}  // namespace
}  // namespace holdfast::postgres
