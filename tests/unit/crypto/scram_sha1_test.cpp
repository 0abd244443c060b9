// SCRAM-SHA-1 by the exchange of RFC 5802, and what an exchange that others had yields.
#include <gtest/gtest.h>

#include <string>

#include "crypto/base64.hpp"
#include "crypto/scram.hpp"

namespace holdfast::crypto {
namespace {

const std::string client_nonce = "fyko+d2lbbFgONRv9qkxdawL";
const std::string server_nonce = "3rfcNHYJY1ZVvWVs7j";
const std::string client_first = "n,,n=user,r=" + client_nonce;
const std::string server_first = "r=" + client_nonce + server_nonce + ",s=QSXCR+Q6sek8bf92,i=4096";
const std::string client_final = "c=biws,r=" + client_nonce + server_nonce + ",p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=";
const std::string server_final = "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=";

ScramVerifier verifier() { return make_verifier("pencil", base64_decode("QSXCR+Q6sek8bf92").value(), 4096, HashKind::sha1); }

TEST(ScramSha1, the_client_speaks_the_exchange_of_rfc_5802_to_the_letter) {
  ScramClient client("pencil", client_nonce, ScramClient::Binding::none, {}, HashKind::sha1);
  client.name_user("user");
  EXPECT_EQ(client.client_first(), client_first);
  std::string answer;
  ASSERT_TRUE(client.on_server_first(server_first, answer)) << client.error();
  EXPECT_EQ(answer, client_final);
  EXPECT_TRUE(client.on_server_final(server_final)) << client.error();
}

TEST(ScramSha1, the_server_does_too_and_learns_keys_that_log_in) {
  ScramServer server(verifier(), {});
  std::string answer;
  ASSERT_TRUE(server.on_client_first(client_first, ScramServer::Mechanism::plain, server_nonce, answer));
  EXPECT_EQ(answer, server_first);
  ASSERT_TRUE(server.on_client_final(client_final, answer)) << server.error();
  EXPECT_EQ(answer, server_final);
  ScramClient upward(server.keys(), client_nonce, ScramClient::Binding::none, {});
  upward.name_user("user");
  ASSERT_TRUE(upward.on_server_first(server_first, answer));
  EXPECT_EQ(answer, client_final);
}

TEST(ScramSha1, an_exchange_that_was_only_seen_yields_the_same_keys_by_its_verifier) {
  const auto keys = keys_of_exchange(verifier(), client_first, server_first, client_final);
  ASSERT_TRUE(keys);
  EXPECT_EQ(keys->hash, HashKind::sha1);
  EXPECT_EQ(view(hash(HashKind::sha1, view(keys->client_key, HashKind::sha1))), view(verifier().stored_key));
  auto other = verifier();
  other.stored_key[0] ^= 1;
  EXPECT_FALSE(keys_of_exchange(other, client_first, server_first, client_final));
  EXPECT_FALSE(keys_of_exchange(verifier(), client_first, server_first, "c=biws,r=x"));
  EXPECT_FALSE(keys_of_exchange(verifier(), "n", server_first, client_final));
}

TEST(ScramSha1, a_clients_first_message_names_its_user) {
  EXPECT_EQ(user_of_client_first("n,,n=user,r=x"), "user");
  EXPECT_EQ(user_of_client_first("n,,n=a=2Cb=3Dc,r=x"), "a,b=c");
  for (const char* bad : {"", "n", "n,,", "n,,n=,r=x", "n,,n=a=2,r=x", "n,,n=a=41,r=x", "n,,r=x"}) {
    EXPECT_FALSE(user_of_client_first(bad)) << bad;
  }
}

TEST(ScramSha1, a_verifier_has_keys_of_20_bytes_and_says_which_hash_it_is_of) {
  const std::string key = base64_encode(view(verifier().stored_key, HashKind::sha1));
  const auto text = "SCRAM-SHA-1$4096:QSXCR+Q6sek8bf92$" + key + ":" + key;
  ASSERT_TRUE(parse_verifier(text, HashKind::sha1));
  EXPECT_EQ(parse_verifier(text, HashKind::sha1)->stored_key, verifier().stored_key);
  EXPECT_FALSE(parse_verifier(text)) << "PostgreSQL has no SHA-1";
}

}  // namespace
}  // namespace holdfast::crypto
