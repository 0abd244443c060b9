// Client and server of SCRAM against each other: every flag, passwords right and wrong, and the login with the keys
// that a proof yields.
#include <gtest/gtest.h>

#include <string>

#include "scram_vectors.hpp"

namespace holdfast::crypto {
namespace {

using namespace std::string_literals;
using Binding = ScramClient::Binding;
using Mechanism = ScramServer::Mechanism;

/// Carries the messages between the two until one of them refuses; true when both are content.
bool logs_in(ScramClient& client, ScramServer& server, Mechanism mechanism = Mechanism::plain) {
  std::string to_client, to_server;
  return server.on_client_first(client.client_first(), mechanism, "server-nonce", to_client) &&
         client.on_server_first(to_client, to_server) && server.on_client_final(to_server, to_client) &&
         client.on_server_final(to_client);
}

ScramVerifier verifier_of(const std::string& password) { return make_verifier(password, "salt of sixteen.", 16); }

TEST(ScramExchange, the_right_password_logs_in_whatever_bytes_it_has) {
  for (const std::string& password : {"pencil"s, "p"s, "with, comma=and equals"s, "p\xc3\xa4ssword"s, "\xff\xfe"s, std::string(1'000, 'x')}) {
    ScramClient client(password, "client-nonce", Binding::none, {});
    ScramServer server(verifier_of(password), {});
    EXPECT_TRUE(logs_in(client, server)) << client.error() << server.error();
  }
}

TEST(ScramExchange, a_wrong_password_does_not) {
  for (const std::string& wrong : {""s, "Pencil"s, "pencil "s, "penci"s}) {
    ScramClient client(wrong, "client-nonce", Binding::none, {});
    ScramServer server(verifier_of("pencil"), {});
    EXPECT_FALSE(logs_in(client, server)) << wrong;
    EXPECT_EQ(server.error(), "password authentication failed");
  }
}

TEST(ScramExchange, each_binding_logs_in_where_the_server_offers_it) {
  struct Row {
    Binding binding;
    std::string of_client, of_server;
    Mechanism mechanism;
    bool expected;
  };
  const std::string data(32, 'b'), other(32, 'c');
  const Row rows[] = {{Binding::none, {}, {}, Mechanism::plain, true},
                      {Binding::none, {}, data, Mechanism::plain, true},
                      {Binding::supported, {}, {}, Mechanism::plain, true},
                      {Binding::supported, {}, data, Mechanism::plain, false},
                      {Binding::used, data, data, Mechanism::plus, true},
                      {Binding::used, other, data, Mechanism::plus, false},
                      {Binding::used, data, {}, Mechanism::plus, false},
                      {Binding::used, data, data, Mechanism::plain, false},
                      {Binding::none, {}, data, Mechanism::plus, false}};
  for (const auto& row : rows) {
    ScramClient client("pencil"s, "client-nonce", row.binding, row.of_client);
    ScramServer server(verifier_of("pencil"), row.of_server);
    EXPECT_EQ(logs_in(client, server, row.mechanism), row.expected) << &row - rows;
  }
}

TEST(ScramExchange, the_keys_that_a_clients_proof_yields_log_in_upstream) {
  ScramClient client("pencil"s, "client-nonce", Binding::none, {});
  ScramServer proxy(verifier_of("pencil"), {});
  ASSERT_TRUE(logs_in(client, proxy));
  ScramClient upward(proxy.keys(), "another-nonce", Binding::used, "certificate");
  ScramServer database(verifier_of("pencil"), "certificate");
  EXPECT_TRUE(logs_in(upward, database, Mechanism::plus)) << upward.error() << database.error();
  EXPECT_EQ(database.keys().client_key, proxy.keys().client_key);
}

TEST(ScramExchange, the_keys_of_a_login_with_the_password_serve_the_next_ones) {
  ScramClient first("pencil"s, "client-nonce", Binding::none, {});
  ScramServer database(verifier_of("pencil"), {});
  ASSERT_TRUE(logs_in(first, database));
  for (int i = 0; i < 3; ++i) {
    ScramClient next(first.keys(), "nonce" + std::to_string(i), Binding::supported, {});
    ScramServer same(verifier_of("pencil"), {});
    EXPECT_TRUE(logs_in(next, same)) << next.error() << same.error();
    EXPECT_EQ(next.keys().client_key, first.keys().client_key);
  }
}

TEST(ScramExchange, keys_are_stale_after_the_password_was_set_anew) {
  ScramServer before(verifier_of("pencil"), {});
  ScramClient first("pencil"s, "client-nonce", Binding::none, {});
  ASSERT_TRUE(logs_in(first, before));
  ScramClient next(first.keys(), "client-nonce", Binding::none, {});
  ScramServer after(make_verifier("pencil", "another salt....", 16), {});
  EXPECT_FALSE(logs_in(next, after));
  EXPECT_TRUE(next.stale());
}

TEST(ScramExchange, keys_of_another_password_under_the_same_salt_fail_at_the_server) {
  ScramServer before(verifier_of("pencil"), {});
  ScramClient first("pencil"s, "client-nonce", Binding::none, {});
  ASSERT_TRUE(logs_in(first, before));
  ScramClient next(first.keys(), "client-nonce", Binding::none, {});
  ScramServer after(verifier_of("eraser"), {});
  EXPECT_FALSE(logs_in(next, after));
  EXPECT_EQ(after.error(), "password authentication failed");
}

TEST(ScramExchange, a_server_without_the_server_key_is_found_out_by_password_and_by_keys) {
  auto false_verifier = verifier_of("pencil");
  false_verifier.server_key = Digest{};
  ScramServer first_server(false_verifier, {}), second_server(false_verifier, {}), honest(verifier_of("pencil"), {});
  ScramClient by_password("pencil"s, "client-nonce", Binding::none, {});
  ScramClient to_learn("pencil"s, "client-nonce", Binding::none, {});
  EXPECT_FALSE(logs_in(by_password, first_server));
  ASSERT_TRUE(logs_in(to_learn, honest));
  ScramClient by_keys(to_learn.keys(), "client-nonce", Binding::none, {});
  EXPECT_FALSE(logs_in(by_keys, second_server));
}

TEST(ScramExchange, a_recorded_final_message_does_not_fit_another_nonce) {
  ScramClient client("pencil"s, "client-nonce", Binding::none, {});
  ScramServer server(verifier_of("pencil"), {}), later(verifier_of("pencil"), {});
  std::string challenge, proof, answer;
  ASSERT_TRUE(server.on_client_first(client.client_first(), Mechanism::plain, "server-nonce", challenge));
  ASSERT_TRUE(client.on_server_first(challenge, proof));
  ASSERT_TRUE(later.on_client_first(client.client_first(), Mechanism::plain, "another-nonce", challenge));
  EXPECT_FALSE(later.on_client_final(proof, answer));
  EXPECT_TRUE(server.on_client_final(proof, answer));
}

}  // namespace
}  // namespace holdfast::crypto
