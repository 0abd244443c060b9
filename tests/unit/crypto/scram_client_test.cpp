// The client's side of SCRAM, with a password and with keys: what it sends to the letter, and what it refuses.
#include <gtest/gtest.h>

#include <string>

#include "scram_vectors.hpp"

namespace holdfast::crypto {
namespace {

using namespace std::string_literals;
using namespace vectors;
using Binding = ScramClient::Binding;

ScramClient client_of(const Exchange& exchange) {
  return {password, client_nonce, exchange.binding, exchange.binding == Binding::used ? binding_data : std::string()};
}

/// A client of its own for each first message of a server's.
struct First {
  explicit First(const std::string& message) : client(client_of(unbound)), ok(client.on_server_first(message, answer)) {}
  std::string answer;
  ScramClient client;
  bool ok;
};

/// A client that has answered the server's first message and now gets `message`.
bool takes_final(const std::string& message) {
  First first(server_first);
  EXPECT_TRUE(first.ok);
  return first.client.on_server_final(message);
}

std::string first_with(const std::string& r, const std::string& s, const std::string& i) {
  return "r=" + r + ",s=" + s + ",i=" + i;
}

TEST(ScramClient, speaks_the_exchange_of_rfc_7677_without_the_users_name_to_the_letter) {
  for (const auto& exchange : {unbound, could_bind, bound}) {
    auto client = client_of(exchange);
    EXPECT_EQ(client.client_first(), exchange.header + "n=,r=" + client_nonce);
    std::string answer;
    ASSERT_TRUE(client.on_server_first(server_first, answer)) << client.error();
    EXPECT_EQ(answer, exchange.client_final);
    EXPECT_TRUE(client.on_server_final(exchange.server_final)) << client.error();
    EXPECT_TRUE(client.error().empty());
  }
}

TEST(ScramClient, yields_the_keys_of_the_password_for_later_logins) {
  First first(server_first);
  ASSERT_TRUE(first.ok);
  EXPECT_EQ(base64_encode(view(first.client.keys().client_key)), client_key_text);
  EXPECT_EQ(base64_encode(view(first.client.keys().server_key)), server_key_text);
  EXPECT_EQ(base64_encode(first.client.keys().salt), salt_text);
  EXPECT_EQ(first.client.keys().iterations, 4096U);
}

TEST(ScramClient, with_keys_sends_what_it_sends_with_the_password) {
  for (const auto& exchange : {unbound, could_bind, bound}) {
    ScramClient client(keys(), client_nonce, exchange.binding, exchange.binding == Binding::used ? binding_data : "");
    EXPECT_EQ(client.client_first(), exchange.header + "n=,r=" + client_nonce);
    std::string answer;
    ASSERT_TRUE(client.on_server_first(server_first, answer)) << client.error();
    EXPECT_EQ(answer, exchange.client_final);
    EXPECT_TRUE(client.on_server_final(exchange.server_final));
    EXPECT_FALSE(client.stale());
  }
}

TEST(ScramClient, with_keys_of_another_salt_or_count_says_that_they_are_stale_and_sends_no_proof) {
  for (const auto& message : {first_with(nonce, "QUJD", "4096"), first_with(nonce, salt_text, "4097")}) {
    ScramClient client(keys(), client_nonce, Binding::none, {});
    std::string answer;
    EXPECT_FALSE(client.on_server_first(message, answer));
    EXPECT_TRUE(client.stale());
    EXPECT_TRUE(answer.empty());
    EXPECT_EQ(client.error(), "the server's verifier of this user has changed");
  }
}

TEST(ScramClient, with_keys_takes_a_malformed_message_for_malformed_and_not_for_stale_keys) {
  for (const auto& message : {""s, first_with(nonce, "", "4096"), first_with("other", salt_text, "4096")}) {
    ScramClient client(keys(), client_nonce, Binding::none, {});
    std::string answer;
    EXPECT_FALSE(client.on_server_first(message, answer));
    EXPECT_FALSE(client.stale()) << message;
  }
}

TEST(ScramClient, with_a_password_is_never_stale) {
  First first(first_with(nonce, "QUJD", "4097"));
  EXPECT_TRUE(first.ok);
  EXPECT_FALSE(first.client.stale());
}

TEST(ScramClient, refuses_or_fails_later_every_proper_prefix_of_the_servers_first_message) {
  for (std::size_t length = 0; length < server_first.size(); ++length) {
    First first(server_first.substr(0, length));
    const bool count_begun = length > server_first.rfind("i=") + 2;
    ASSERT_EQ(first.ok, count_begun) << length;
    ASSERT_EQ(first.client.error().empty(), first.ok) << length;
    ASSERT_FALSE(first.ok && first.client.on_server_final(unbound.server_final)) << length;
  }
}

TEST(ScramClient, refuses_every_proper_prefix_of_the_servers_final_message) {
  for (std::size_t length = 0; length < unbound.server_final.size(); ++length) {
    ASSERT_FALSE(takes_final(unbound.server_final.substr(0, length))) << length;
  }
  EXPECT_TRUE(takes_final(unbound.server_final));
}

TEST(ScramClient, refuses_a_wrong_bit_anywhere_in_the_servers_signature) {
  for (std::size_t place = 0; place < unbound.server_final.size(); ++place) {
    for (int bit = 0; bit < 8; ++bit) {
      auto message = unbound.server_final;
      message[place] = static_cast<char>(static_cast<unsigned char>(message[place]) ^ (1U << bit));
      First first(server_first);
      ASSERT_FALSE(first.client.on_server_final(message)) << place << " " << bit;
      if (bit == 0 && place % 8 != 0) break;  // each pass derives the key anew: a bit of each byte, all of some
    }
  }
}

TEST(ScramClient, takes_extensions_after_the_signature_and_nothing_else_there) {
  EXPECT_TRUE(takes_final(unbound.server_final + ",x=1"));
  EXPECT_FALSE(takes_final(unbound.server_final + "x"));
  EXPECT_FALSE(takes_final("x=1," + unbound.server_final));
}

TEST(ScramClient, takes_a_servers_error_for_a_refusal) {
  First first(server_first);
  ASSERT_TRUE(first.ok);
  EXPECT_FALSE(first.client.on_server_final("e=invalid-proof"));
  EXPECT_EQ(first.client.error(), "the server refused the SCRAM proof");
}

TEST(ScramClient, says_so_when_the_server_does_not_know_the_password) {
  First first(server_first);
  ASSERT_TRUE(first.ok);
  EXPECT_FALSE(first.client.on_server_final("v=" + base64_encode(std::string(32, 'x'))));
  EXPECT_EQ(first.client.error(), "the server could not prove that it knows the password");
}

TEST(ScramClient, refuses_a_nonce_that_does_not_go_on_from_its_own) {
  for (const std::string& wrong : {""s, client_nonce, server_nonce, client_nonce.substr(1) + server_nonce,
                                   client_nonce.substr(0, 19), "x" + nonce, "ROPRNGfwEbeRWgbNEkqO" + server_nonce}) {
    EXPECT_FALSE(First(first_with(wrong, salt_text, "4096")).ok) << wrong;
  }
}

TEST(ScramClient, refuses_salts_that_are_empty_or_no_base64) {
  for (const char* salt : {"", "=", "====", "QQ", "Q", "QR==", "Q Q=", "QQ==QQ==", "\n"}) {
    EXPECT_FALSE(First(first_with(nonce, salt, "4096")).ok) << salt;
  }
}

TEST(ScramClient, refuses_counts_that_are_none_or_would_keep_it_busy) {
  for (const char* count : {"", "0", "-1", "+1", "1000001", "4294967297", "99999999999999999999", "4096x", " 4096", "0x1000", "4e3"}) {
    EXPECT_FALSE(First(first_with(nonce, salt_text, count)).ok) << count;
  }
  EXPECT_TRUE(First(first_with(nonce, salt_text, "1")).ok);
}

TEST(ScramClient, refuses_first_messages_without_their_fields_in_their_order) {
  const std::string r = "r=" + nonce, s = "s=" + salt_text, i = "i=4096";
  for (const std::string& message : {""s, ","s, r, r + "," + s, r + "," + i, s + "," + i, s + "," + r + "," + i, i + "," + s + "," + r,
                                     r + ",," + s + "," + i, "m=1," + r + "," + s + "," + i, "," + r + "," + s + "," + i,
                                     r + "," + s + ",x=1," + i, "R" + server_first.substr(1), "e=other-error"s}) {
    First first(message);
    EXPECT_FALSE(first.ok) << message;
    EXPECT_TRUE(first.answer.empty()) << message;
  }
}

TEST(ScramClient, covers_extensions_of_the_servers_first_message_with_the_proof) {
  First first(server_first + ",x=1");
  ASSERT_TRUE(first.ok);
  EXPECT_NE(first.answer, unbound.client_final);
}

}  // namespace
}  // namespace holdfast::crypto
