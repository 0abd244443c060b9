// A client's login as the server sees it: rounds, types, and the one answer that every failure gets.
#include <gtest/gtest.h>

#include <string>

#include "crypto/base64.hpp"
#include "protocol/mongo/document.hpp"
#include "protocol/mongo/reply.hpp"
#include "proxy/mongo/client_login.hpp"
#include "proxy/mongo/login.hpp"

namespace holdfast::proxy::mongo {
namespace {

namespace wire = holdfast::mongo;
using crypto::HashKind;
using State = ClientLogin::State;

struct Client {
  explicit Client(HashKind kind, std::string password = "pencil")
      : hash(kind), scram(std::move(password), "client-nonce", crypto::ScramClient::Binding::none, {}, kind) {
    scram.name_user("app");
  }
  std::string start(bool skip, bool text = false) {
    wire::Writer options, writer;
    options.boolean("skipEmptyExchange", skip);
    writer.int32("saslStart", 1).text("mechanism", mechanism_of(hash));
    payload(writer, scram.client_first(), text);
    return writer.document("options", options.finish()).text("$db", "admin").finish();
  }
  static std::string go_on(std::string_view data, bool text = false, std::int32_t conversation = 1) {
    wire::Writer writer;
    writer.int32("saslContinue", 1).int32("conversationId", conversation);
    payload(writer, data, text);
    return writer.finish();
  }
  static void payload(wire::Writer& writer, std::string_view data, bool text) {
    text ? writer.text("payload", crypto::base64_encode(data)) : writer.binary("payload", data);
  }
  HashKind hash;
  crypto::ScramClient scram;
};

crypto::ScramVerifier verifier(HashKind hash) { return crypto::make_verifier("pencil", "salt", 16, hash); }

int code_of(const std::string& body) { return wire::read_reply(body).code; }

class MongoClientLogin : public testing::TestWithParam<HashKind> {};

TEST_P(MongoClientLogin, goes_in_two_rounds_where_the_client_wants_no_empty_one_and_in_three_otherwise) {
  for (const bool skip : {true, false}) {
    Client client(GetParam());
    const auto start = read_sasl_start(client.start(skip));
    EXPECT_EQ(start.user, "app");
    EXPECT_EQ(start.database, "admin");
    ClientLogin login(start, verifier(GetParam()), "server-nonce");
    const auto first = login.first(ClientLogin::Ok::with);
    EXPECT_TRUE(wire::find(first, "ok"));
    std::string proof;
    ASSERT_TRUE(client.scram.on_server_first(read_sasl_payload(first)->bytes, proof));
    const auto second = login.next(Client::go_on(proof));
    EXPECT_TRUE(client.scram.on_server_final(read_sasl_payload(second)->bytes));
    EXPECT_EQ(wire::find(second, "done")->truth(), skip);
    EXPECT_EQ(login.state(), skip ? State::done : State::waiting);
    if (!skip) {
      EXPECT_TRUE(wire::find(login.next(Client::go_on({})), "done")->truth());
      EXPECT_EQ(login.state(), State::done);
    }
    EXPECT_EQ(login.keys().client_key, client.scram.keys().client_key);
    EXPECT_EQ(login.keys().hash, GetParam());
  }
}

TEST_P(MongoClientLogin, that_fails_is_answered_the_same_whatever_was_wrong) {
  Client wrong(GetParam(), "other");
  ClientLogin login(read_sasl_start(wrong.start(true)), verifier(GetParam()), "server-nonce");
  std::string proof;
  ASSERT_TRUE(wrong.scram.on_server_first(read_sasl_payload(login.first(ClientLogin::Ok::with))->bytes, proof));
  EXPECT_EQ(login.next(Client::go_on(proof)), login_failed_body());
  EXPECT_EQ(login.state(), State::failed);
  ClientLogin malformed(read_sasl_start(Client::go_on("what")), verifier(GetParam()), "server-nonce");
  EXPECT_EQ(malformed.first(ClientLogin::Ok::with), login_failed_body());
  EXPECT_EQ(code_of(login_failed_body()), wire::code::authentication_failed);
}

INSTANTIATE_TEST_SUITE_P(EachMechanism, MongoClientLogin, testing::Values(HashKind::sha256, HashKind::sha1));

TEST(MongoClientLoginForm, answers_in_the_type_of_the_payload_and_within_a_hello_without_ok) {
  Client client(HashKind::sha256);
  ClientLogin login(read_sasl_start(client.start(true, true)), verifier(HashKind::sha256), "server-nonce");
  const auto first = login.first(ClientLogin::Ok::without);
  EXPECT_FALSE(wire::find(first, "ok"));
  EXPECT_EQ(wire::find(first, "payload")->kind, wire::Kind::text);
  EXPECT_TRUE(read_sasl_payload(first)->bytes.starts_with("r=client-nonceserver-nonce,"));
}

TEST(MongoClientLoginForm, another_conversation_or_an_empty_round_that_is_not_empty_ends_it) {
  Client client(HashKind::sha256);
  ClientLogin other(read_sasl_start(client.start(true)), verifier(HashKind::sha256), "server-nonce");
  static_cast<void>(other.first(ClientLogin::Ok::with));
  EXPECT_EQ(code_of(other.next(Client::go_on("x", false, 2))), 17);
  EXPECT_EQ(other.state(), State::failed);
  ClientLogin longer(read_sasl_start(client.start(false)), verifier(HashKind::sha256), "server-nonce");
  std::string proof;
  ASSERT_TRUE(client.scram.on_server_first(read_sasl_payload(longer.first(ClientLogin::Ok::with))->bytes, proof));
  static_cast<void>(longer.next(Client::go_on(proof)));
  EXPECT_EQ(longer.next(Client::go_on("more")), login_failed_body());
}

TEST(MongoClientLoginForm, what_is_no_scram_names_no_hash) {
  wire::Writer writer;
  const auto start = read_sasl_start(writer.int32("saslStart", 1).text("mechanism", "PLAIN").binary("payload", "a").finish());
  EXPECT_FALSE(start.hash);
  EXPECT_EQ(start.mechanism, "PLAIN");
  EXPECT_FALSE(read_sasl_payload(wire::empty_document));
}

TEST(MongoClientLoginForm, with_a_key_that_stands_there_twice_can_be_read_in_more_ways_than_one) {
  Client client(HashKind::sha256);
  const auto whole = client.start(true);
  EXPECT_TRUE(reads_one_way(whole));
  EXPECT_FALSE(reads_one_way(whole.substr(0, whole.size() - 1))) << "no BSON";
  EXPECT_FALSE(reads_one_way({}));
  for (const auto* key : {"payload", "mechanism", "$db", "options", "anything"}) {
    wire::Writer writer;
    static_cast<void>(wire::for_each(whole, [&](const wire::Element& field) {
      writer.raw(field.raw);
      return true;
    }));
    writer.text(key, "");
    EXPECT_EQ(reads_one_way(writer.finish()), std::string(key) == "anything") << key;
  }
}

TEST(MongoClientLoginForm, takes_any_prefix_and_any_changed_byte_of_a_login_without_letting_anybody_in) {
  Client client(HashKind::sha256);
  const auto whole = client.start(true);
  ClientLogin good(read_sasl_start(whole), verifier(HashKind::sha256), "server-nonce");
  std::string proof;
  ASSERT_TRUE(client.scram.on_server_first(read_sasl_payload(good.first(ClientLogin::Ok::with))->bytes, proof));
  const auto last = Client::go_on(proof);
  for (std::size_t i = 0; i < whole.size(); ++i) {
    ClientLogin login(read_sasl_start(whole.substr(0, i)), verifier(HashKind::sha256), "server-nonce");
    static_cast<void>(login.first(ClientLogin::Ok::with));
    static_cast<void>(login.next(last.substr(0, i)));
    EXPECT_NE(login.state(), State::done) << i;
  }
  for (std::size_t i = last.find("p=") + 2; i + 4 < last.size(); ++i) {
    ClientLogin login(read_sasl_start(whole), verifier(HashKind::sha256), "server-nonce");
    static_cast<void>(login.first(ClientLogin::Ok::with));
    auto changed = last;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    static_cast<void>(login.next(changed));
    EXPECT_EQ(login.state(), State::failed) << i;
  }
}

}  // namespace
}  // namespace holdfast::proxy::mongo
