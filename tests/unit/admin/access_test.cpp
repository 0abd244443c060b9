// Host, Origin, token and target: what is let through, and what is not.
#include "admin/access.hpp"

#include <gtest/gtest.h>

namespace holdfast::admin {
namespace {

config::ListenAddress tcp(std::string host) { return {std::move(host), 9930, {}}; }

TEST(AdminAccess, a_local_listener_goes_by_its_own_name_and_the_names_of_loopback) {
  const Access access(tcp("127.0.0.1"), config::Secret());
  for (const auto* host : {"127.0.0.1:9930", "localhost", "LocalHost:9930", "[::1]:9930", "127.0.0.1:8080"}) {
    EXPECT_TRUE(access.host_allowed(host)) << host;
  }
  for (const auto* host : {"", "evil.example", "evil.example:9930", "localhost.evil.example", "192.0.2.1:9930", "[", "[]"}) {
    EXPECT_FALSE(access.host_allowed(host)) << host;
  }
}

TEST(AdminAccess, where_a_token_is_demanded_any_host_will_do) {
  EXPECT_TRUE(Access(tcp("0.0.0.0"), config::Secret("t")).host_allowed("holdfast.internal:9930"));
  EXPECT_TRUE(Access({{}, 0, "/run/admin"}, config::Secret()).host_allowed("x"));
}

TEST(AdminAccess, only_the_servers_own_pages_may_change_anything) {
  EXPECT_TRUE(Access::origin_allowed("http://localhost:9930", "localhost:9930"));
  EXPECT_TRUE(Access::origin_allowed("https://LOCALHOST:9930", "localhost:9930"));
  EXPECT_FALSE(Access::origin_allowed("http://evil.example", "localhost:9930"));
  EXPECT_FALSE(Access::origin_allowed("http://localhost:8080", "localhost:9930"));
  EXPECT_FALSE(Access::origin_allowed("null", "localhost:9930"));
}

TEST(AdminAccess, a_token_must_be_the_whole_token) {
  const Access access(tcp("0.0.0.0"), config::Secret("s3cret"));
  EXPECT_TRUE(access.token_allowed("Bearer s3cret"));
  EXPECT_TRUE(access.token_allowed("bearer s3cret"));
  for (const auto* wrong : {"", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3crets", "Bearer s3crets3cret",
                            "Bearer S3cret", "Basic s3cret", "s3cret"}) {
    EXPECT_FALSE(access.token_allowed(wrong)) << wrong;
  }
}

TEST(AdminTarget, is_decoded_segment_by_segment) {
  const auto target = parse_target("/api/v1/a%2Fb%20c/?connectionId=x%26y+z&empty&connectionId=second");
  ASSERT_TRUE(target);
  EXPECT_EQ(target->path, (std::vector<std::string>{"api", "v1", "a/b c"}));
  EXPECT_EQ(target->query.at("connectionId"), "x&y z");
  EXPECT_EQ(target->query.at("empty"), "");
  EXPECT_TRUE(parse_target("/")->path.empty());
}

TEST(AdminTarget, what_is_badly_encoded_is_refused) {
  for (const auto* target : {"", "api", "*", "http://localhost/", "/%", "/%4", "/%zz", "/?a=%g0"}) {
    EXPECT_FALSE(parse_target(target)) << target;
  }
}

}  // namespace
}  // namespace holdfast::admin
