// Addresses, bodies and signatures of webhooks.
#include "admin/webhook_request.hpp"

#include <gtest/gtest.h>

namespace holdfast::admin {
namespace {

TEST(AdminWebhookRequest, takes_an_address_apart) {
  const auto plain = parse_webhook("http://hooks.example");
  ASSERT_TRUE(plain);
  EXPECT_FALSE(plain->tls);
  EXPECT_EQ(plain->host, "hooks.example");
  EXPECT_EQ(plain->port, "80");
  EXPECT_EQ(plain->target, "/");
  const auto secure = parse_webhook("https://[::1]:8443/a/b?token=x#part");
  ASSERT_TRUE(secure);
  EXPECT_TRUE(secure->tls);
  EXPECT_EQ(secure->host, "::1");
  EXPECT_EQ(secure->port, "8443");
  EXPECT_EQ(secure->target, "/a/b?token=x");
  EXPECT_EQ(secure->shown(), "https://[::1]:8443") << "the rest may hold a secret";
  EXPECT_EQ(parse_webhook("http://h?x=1")->target, "/?x=1");
}

TEST(AdminWebhookRequest, refuses_what_is_no_address) {
  for (const auto* url : {"", "hooks.example", "ftp://h", "http://", "http:///x", "http://:80", "http://h:", "http://h:x", "http://u:p@h", "http://[::1",
                          "http://[::1]x", "http://h/a b", "http://h/a\r\nX: y"}) {
    EXPECT_FALSE(parse_webhook(url)) << url;
  }
}

TEST(AdminWebhookRequest, an_entry_without_a_list_wants_every_event) {
  proxy::Event event;
  event.kind = proxy::EventKind::connection_lost;
  EXPECT_TRUE(wants({"http://h", {}, {}, {}}, event));
  EXPECT_TRUE(wants({"http://h", {"database-connection-lost"}, {}, {}}, event));
  EXPECT_FALSE(wants({"http://h", {"database-reconnected"}, {}, {}}, event));
}

TEST(AdminWebhookRequest, the_body_is_the_data_of_the_stream_with_the_name) {
  NumberedEvent event;
  event.id = 7;
  event.event.kind = proxy::EventKind::connection_lost;
  event.event.connection = "orders";
  event.event.reason = "closed \xff";
  EXPECT_EQ(webhook_body(event), "{\"event\":\"database-connection-lost\",\"id\":7,\"time\":\"1970-01-01T00:00:00.000Z\","
                                 "\"connectionId\":\"orders\",\"reason\":\"closed \xef\xbf\xbd\"}");
}

TEST(AdminWebhookRequest, the_signature_is_an_hmac_over_time_and_body) {
  // printf '1700000000.{}' | openssl dgst -sha256 -hmac secret
  EXPECT_EQ(webhook_signature(config::Secret("secret"), 1'700'000'000, "{}"), "sha256=b8569b78799ff9e3cbff0fc2d63a33a2b57f3282abd07c37ae5e8e7d79a5f163");
}

}  // namespace
}  // namespace holdfast::admin
