// The server's side of SCRAM: the exchange of RFC 7677, channel binding flags, and every malformed message.
#include <gtest/gtest.h>

#include <string>

#include "scram_vectors.hpp"

namespace holdfast::crypto {
namespace {

using namespace std::string_literals;
using namespace vectors;
using Mechanism = ScramServer::Mechanism;

/// A server of its own for each message: whether it takes it as the first one.
struct First {
  explicit First(const std::string& message, Mechanism mechanism = Mechanism::plain, const std::string& binding = {})
      : server(verifier(), binding), ok(server.on_client_first(message, mechanism, server_nonce, answer)) {}
  std::string answer;
  ScramServer server;
  bool ok;
};

/// A server that has taken the first message of `exchange` or the RFC's, and now gets `message`.
struct Final {
  explicit Final(const std::string& message, const std::string& client_first = rfc_client_first) : first(client_first) {
    EXPECT_TRUE(first.ok) << first.server.error();
    ok = first.server.on_client_final(message, answer);
  }
  [[nodiscard]] const std::string& error() const { return first.server.error(); }
  First first;
  std::string answer;
  bool ok = false;
};

std::string with_proof(const std::string& proof) { return "c=biws,r=" + nonce + ",p=" + proof; }

TEST(ScramServer, answers_the_exchange_of_rfc_7677_to_the_letter) {
  Final last(rfc_client_final);
  EXPECT_EQ(last.first.answer, server_first);
  ASSERT_TRUE(last.ok) << last.error();
  EXPECT_EQ(last.answer, rfc_server_final);
}

TEST(ScramServer, learns_the_client_key_from_the_proof_and_keeps_salt_and_count_with_it) {
  Final last(rfc_client_final);
  ASSERT_TRUE(last.ok);
  const auto& learned = last.first.server.keys();
  EXPECT_EQ(base64_encode(view(learned.client_key)), client_key_text);
  EXPECT_EQ(base64_encode(view(learned.server_key)), server_key_text);
  EXPECT_EQ(base64_encode(learned.salt), salt_text);
  EXPECT_EQ(learned.iterations, 4096U);
}

TEST(ScramServer, gives_away_no_keys_after_a_wrong_proof) {
  Final last(with_proof(base64_encode(std::string(32, 'x'))));
  EXPECT_FALSE(last.ok);
  EXPECT_EQ(last.first.server.keys().client_key, Digest{});
  EXPECT_EQ(last.first.server.keys().server_key, Digest{});
  EXPECT_TRUE(last.answer.empty());
}

TEST(ScramServer, refuses_every_proper_prefix_of_the_final_message) {
  for (std::size_t length = 0; length < rfc_client_final.size(); ++length) {
    Final last(rfc_client_final.substr(0, length));
    ASSERT_FALSE(last.ok) << length;
    ASSERT_TRUE(last.answer.empty()) << length;
    ASSERT_FALSE(last.error().empty()) << length;
  }
}

TEST(ScramServer, refuses_or_fails_later_every_proper_prefix_of_the_first_message) {
  for (std::size_t length = 0; length < rfc_client_first.size(); ++length) {
    First first(rfc_client_first.substr(0, length));
    const bool nonce_begun = length > std::string("n,,n=user,r=").size();
    ASSERT_EQ(first.ok, nonce_begun) << length;
    std::string answer;
    ASSERT_FALSE(first.ok && first.server.on_client_final(rfc_client_final, answer)) << length;
  }
}

TEST(ScramServer, refuses_a_wrong_bit_anywhere_in_the_final_message) {
  for (std::size_t place = 0; place < rfc_client_final.size(); ++place) {
    for (int bit = 0; bit < 8; ++bit) {
      auto message = rfc_client_final;
      message[place] = static_cast<char>(static_cast<unsigned char>(message[place]) ^ (1U << bit));
      ASSERT_FALSE(Final(message).ok) << place << " " << bit;
    }
  }
}

TEST(ScramServer, says_no_more_of_a_wrong_proof_than_that_the_login_failed) {
  EXPECT_EQ(Final(with_proof(base64_encode(std::string(32, '\0')))).error(), "password authentication failed");
}

TEST(ScramServer, refuses_proofs_of_the_wrong_size) {
  for (const std::size_t size : {0U, 1U, 16U, 31U, 33U, 64U}) {
    EXPECT_FALSE(Final(with_proof(base64_encode(std::string(size, 'x')))).ok) << size;
  }
}

TEST(ScramServer, refuses_nonces_that_are_not_the_one_agreed_on) {
  const auto proof = rfc_client_final.substr(rfc_client_final.rfind(",p="));
  for (const std::string& wrong : {""s, client_nonce, server_nonce, nonce + "x", nonce.substr(1), server_nonce + client_nonce}) {
    Final last("c=biws,r=" + wrong + proof);
    EXPECT_FALSE(last.ok) << wrong;
    EXPECT_EQ(last.error(), "the SCRAM nonce does not match") << wrong;
  }
}

TEST(ScramServer, refuses_a_final_message_whose_fields_are_missing_or_out_of_order) {
  const std::string proof = "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", c = "c=biws", r = "r=" + nonce;
  for (const std::string& message : {""s, ","s, c + "," + r, r + "," + proof, c + "," + proof, r + "," + c + "," + proof,
                                     proof + "," + c + "," + r, c + "," + r + "," + proof + ",x=1", "," + c + "," + r + "," + proof,
                                     c + ",," + r + "," + proof, "c=," + r + "," + proof, c + "," + r + ",p="}) {
    EXPECT_FALSE(Final(message).ok) << message;
  }
}

TEST(ScramServer, covers_extensions_of_the_final_message_with_the_proof) {
  const auto proof_at = rfc_client_final.rfind(",p=");
  const auto message = rfc_client_final.substr(0, proof_at) + ",x=1" + rfc_client_final.substr(proof_at);
  EXPECT_EQ(Final(message).error(), "password authentication failed");
}

TEST(ScramServer, takes_any_user_name_in_the_message_as_postgresql_does) {
  for (const std::string& name : {""s, "user"s, "=2C=3D"s, "*"s}) EXPECT_TRUE(First("n,,n=" + name + ",r=abc").ok) << name;
}

TEST(ScramServer, takes_the_flag_that_fits_mechanism_and_offer) {
  EXPECT_TRUE(First("n,,n=,r=abc").ok);
  EXPECT_TRUE(First("y,,n=,r=abc").ok);
  EXPECT_TRUE(First("n,,n=,r=abc", Mechanism::plain, binding_data).ok);
  EXPECT_TRUE(First("p=tls-server-end-point,,n=,r=abc", Mechanism::plus, binding_data).ok);
}

TEST(ScramServer, refuses_a_client_that_was_kept_from_the_channel_binding_that_was_offered) {
  First first("y,,n=,r=abc", Mechanism::plain, binding_data);
  EXPECT_FALSE(first.ok);
  EXPECT_EQ(first.server.error(), "SCRAM channel binding negotiation error");
}

TEST(ScramServer, refuses_flags_that_do_not_fit_the_mechanism) {
  EXPECT_FALSE(First("p=tls-server-end-point,,n=,r=abc", Mechanism::plain, binding_data).ok);
  EXPECT_FALSE(First("p=tls-server-end-point,,n=,r=abc").ok);
  EXPECT_FALSE(First("n,,n=,r=abc", Mechanism::plus, binding_data).ok);
  EXPECT_FALSE(First("y,,n=,r=abc", Mechanism::plus, binding_data).ok);
  EXPECT_FALSE(First("p=tls-server-end-point,,n=,r=abc", Mechanism::plus).ok) << "no -PLUS was offered";
}

TEST(ScramServer, refuses_other_kinds_of_channel_binding_and_flags_that_are_none) {
  for (const auto* flag : {"p=tls-unique", "p=tls-exporter", "p=", "p", "", "N", "nn", "x", "p=tls-server-end-pointx"}) {
    EXPECT_FALSE(First(flag + ",,n=,r=abc"s).ok) << flag;
    EXPECT_FALSE(First(flag + ",,n=,r=abc"s, Mechanism::plus, binding_data).ok) << flag;
  }
}

TEST(ScramServer, refuses_an_authorization_identity_and_mandatory_extensions) {
  EXPECT_FALSE(First("n,a=other,n=,r=abc").ok);
  EXPECT_FALSE(First("n,x,n=,r=abc").ok);
  EXPECT_FALSE(First("n,,m=ext,n=,r=abc").ok);
}

TEST(ScramServer, refuses_first_messages_without_their_fields) {
  for (const char* message : {"", ",", ",,", "n", "n,", "n,,", "n,,n=", "n,,n=user", "n,,r=abc", "n,,r=abc,n=user", "n,,n=,r=", "n,,,",
                              "n,,n=user,", "n,,n=user,x=1,r=abc", "n,,user,abc", "n,,N=user,R=abc"}) {
    EXPECT_FALSE(First(message).ok) << message;
  }
}

TEST(ScramServer, refuses_nonces_with_characters_that_do_not_print) {
  for (int value = 0; value < 256; ++value) {
    const char c = static_cast<char>(value);
    const bool printable = value > 0x20 && value < 0x7f;
    if (c == ',') continue;
    EXPECT_EQ(First("n,,n=,r=ab"s + c + "cd").ok, printable) << value;
  }
}

TEST(ScramServer, leaves_extensions_of_the_first_message_alone) { EXPECT_TRUE(First("n,,n=,r=abc,x=later").ok); }

TEST(ScramServer, refuses_a_final_message_with_another_header_than_the_first_had) {
  EXPECT_EQ(Final(could_bind.client_final, "n,,n=,r=" + client_nonce).error(), "SCRAM channel binding check failed");
  EXPECT_EQ(Final(unbound.client_final, "y,,n=,r=" + client_nonce).error(), "SCRAM channel binding check failed");
  EXPECT_EQ(Final(bound.client_final, "n,,n=,r=" + client_nonce).error(), "SCRAM channel binding check failed");
}

TEST(ScramServer, refuses_channel_binding_data_of_another_certificate) {
  First first("p=tls-server-end-point,,n=,r=" + client_nonce, Mechanism::plus, std::string(32, 'z'));
  ASSERT_TRUE(first.ok);
  std::string answer;
  EXPECT_FALSE(first.server.on_client_final(bound.client_final, answer));
  EXPECT_EQ(first.server.error(), "SCRAM channel binding check failed");
}

TEST(ScramServer, a_user_that_does_not_exist_fails_as_a_wrong_password_does) {
  ScramServer server(mock_verifier("nobody", "secret"), {});
  std::string answer;
  ASSERT_TRUE(server.on_client_first(rfc_client_first, Mechanism::plain, server_nonce, answer));
  EXPECT_FALSE(server.on_client_final(rfc_client_final, answer));
  EXPECT_EQ(server.error(), "password authentication failed");
}

}  // namespace
}  // namespace holdfast::crypto
