// What the parameters of a URI set beyond libpq's own parsing: words, seconds, and those of newer versions of libpq.
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "config/load.hpp"

namespace holdfast::config {
namespace {

using namespace std::chrono_literals;

PostgresUri parsed(const std::string& uri) {
  std::string error;
  auto found = parse_postgres_uri(uri, error);
  EXPECT_TRUE(found) << uri << ": " << error;
  return found.value_or(PostgresUri{});
}

TEST(PostgresUriValues, each_word_of_sslmode_has_its_meaning) {
  const std::pair<const char*, SslMode> rows[] = {{"disable", SslMode::disable}, {"allow", SslMode::allow},         {"prefer", SslMode::prefer},
                                                  {"require", SslMode::require}, {"verify-ca", SslMode::verify_ca}, {"verify-full", SslMode::verify_full}};
  for (const auto& [word, mode] : rows) EXPECT_EQ(parsed(std::string("postgres://db?sslmode=") + word).sslmode, mode);
  EXPECT_EQ(parsed("postgres://db").sslmode, SslMode::prefer);
  EXPECT_EQ(parsed("postgres://db?ssl=true").sslmode, SslMode::require);
}

TEST(PostgresUriValues, each_word_of_target_session_attrs_has_its_meaning) {
  using Attrs = TargetSessionAttrs;
  const std::pair<const char*, Attrs> rows[] = {{"any", Attrs::any},         {"read-write", Attrs::read_write}, {"read-only", Attrs::read_only},
                                                {"primary", Attrs::primary}, {"standby", Attrs::standby},       {"prefer-standby", Attrs::prefer_standby}};
  for (const auto& [word, attrs] : rows) {
    EXPECT_EQ(parsed(std::string("postgres://db?target_session_attrs=") + word).target_session_attrs, attrs);
  }
}

TEST(PostgresUriValues, connect_timeout_is_in_seconds_and_none_when_not_positive) {
  EXPECT_EQ(parsed("postgres://db?connect_timeout=7").connect_timeout, 7s);
  EXPECT_EQ(parsed("postgres://db?connect_timeout=0").connect_timeout, std::nullopt);
  EXPECT_EQ(parsed("postgres://db?connect_timeout=-1").connect_timeout, std::nullopt);
  EXPECT_EQ(parsed("postgres://db").connect_timeout, std::nullopt);
  for (const char* value : {"", "x", "7s", "1.5", "99999999999"}) {
    std::string error;
    EXPECT_FALSE(parse_postgres_uri(std::string("postgres://db?connect_timeout=") + value, error)) << value;
  }
}

TEST(PostgresUriValues, parameters_of_newer_versions_are_known) {
  EXPECT_TRUE(parsed("postgres://db?sslnegotiation=direct").ssl_direct);
  EXPECT_FALSE(parsed("postgres://db?sslnegotiation=postgres").ssl_direct);
  std::string error;
  EXPECT_FALSE(parse_postgres_uri("postgres://db?sslnegotiation=x", error));
  for (const char* name : {"load_balance_hosts", "sslcertmode", "gssdelegation", "min_protocol_version", "max_protocol_version"}) {
    EXPECT_EQ(parsed(std::string("postgres://db?") + name + "=x").hosts[0].host, "db");
  }
}

TEST(PostgresUriValues, what_makes_a_login_safer_is_kept_or_refused_never_ignored) {
  EXPECT_EQ(parsed("postgres://db").channel_binding, ChannelBinding::prefer);
  EXPECT_EQ(parsed("postgres://db?channel_binding=require").channel_binding, ChannelBinding::require);
  EXPECT_EQ(parsed("postgres://db?channel_binding=disable").channel_binding, ChannelBinding::disable);
  std::string error;
  EXPECT_FALSE(parse_postgres_uri("postgres://db?channel_binding=x", error));
  EXPECT_FALSE(parse_postgres_uri("postgres://db?require_auth=scram-sha-256", error));
  EXPECT_NE(error.find("require_auth"), std::string::npos) << error;
}

TEST(PostgresUriValues, a_refusal_never_quotes_the_password) {
  for (const char* uri : {"postgres://app:hush@db:x", "postgres://app:hush%zz@db", "postgres://app:hush@[::1", "postgres://app:hush@db?a=b",
                          "postgres://db?password=hush%zz", "postgres://db?password=hush&sslmode=x", "mysql://app:hush@db", "postgres://app:hush"}) {
    std::string error;
    EXPECT_FALSE(parse_postgres_uri(uri, error)) << uri;
    EXPECT_EQ(error.find("hush"), std::string::npos) << error;
  }
}

// What libpq takes stays: its rules say where a login ends.
TEST(PostgresUriValues, a_login_with_a_character_that_must_be_encoded_is_told_so_without_any_of_it) {
  for (const char* uri : {"postgres://user:p/ss@a:5432/db", "postgres://user:p@s:s/w0rd@host", "postgres://user:p@ss?x=y@host", "postgres://user:p@s?s@host/db",
                          "postgres://app:p@q:r@db/orders"}) {
    std::string error;
    EXPECT_FALSE(parse_postgres_uri(uri, error)) << uri;
    EXPECT_EQ(error, "the user or password holds a character that must be percent-encoded (/ is %2F, ? is %3F, @ is %40, : is %3A)") << uri;
  }
  std::string error;
  EXPECT_FALSE(parse_postgres_uri("postgres://app@db:x/orders?application_name=a@b", error));
  EXPECT_EQ(error, "a port in a URI must be a number from 1 to 65535");
}

}  // namespace
}  // namespace holdfast::config
