// Verifiers as pg_authid holds them: made, parsed, and every malformed kind refused.
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "scram_vectors.hpp"

namespace holdfast::crypto {
namespace {

using namespace std::string_literals;
using namespace vectors;

std::string with(const std::string& iterations, const std::string& salt, const std::string& stored,
                 const std::string& server) {
  return "SCRAM-SHA-256$" + iterations + ":" + salt + "$" + stored + ":" + server;
}

TEST(ScramVerifier, made_of_the_password_of_rfc_7677_it_holds_its_keys) {
  const auto made = make_verifier(password, base64_decode(salt_text).value(), 4096);
  EXPECT_EQ(made.iterations, 4096U);
  EXPECT_EQ(base64_encode(made.salt), salt_text);
  EXPECT_EQ(base64_encode(view(made.stored_key)), stored_key_text);
  EXPECT_EQ(base64_encode(view(made.server_key)), server_key_text);
}

TEST(ScramVerifier, parsed_it_is_the_one_that_the_password_makes) {
  const auto parsed = parse_verifier(verifier_text);
  ASSERT_TRUE(parsed);
  const auto made = make_verifier(password, base64_decode(salt_text).value(), 4096);
  EXPECT_EQ(parsed->iterations, made.iterations);
  EXPECT_EQ(parsed->salt, made.salt);
  EXPECT_EQ(parsed->stored_key, made.stored_key);
  EXPECT_EQ(parsed->server_key, made.server_key);
}

TEST(ScramVerifier, takes_iterations_from_one_to_the_bound_and_no_others) {
  for (const char* count : {"1", "4096", "15000", "1000000"}) {
    EXPECT_TRUE(parse_verifier(with(count, salt_text, stored_key_text, server_key_text))) << count;
  }
  for (const char* count : {"", "0", "-1", "+1", "1000001", "4294967296", "4294971392", "18446744073709551617", "4096x", " 4096",
                            "4096 ", "0x10", "4e3", "1.5", "many"}) {
    EXPECT_FALSE(parse_verifier(with(count, salt_text, stored_key_text, server_key_text))) << count;
  }
}

TEST(ScramVerifier, takes_a_salt_of_any_length_but_none) {
  for (const char* salt : {"QQ==", "QUI=", "QUJD", "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="}) {
    EXPECT_TRUE(parse_verifier(with("4096", salt, stored_key_text, server_key_text))) << salt;
  }
  for (const char* salt : {"", "=", "====", "QQ", "QQ=", "Q", "QR==", "QQ==\n", "Q$==", "Q:==", "QQ==QQ=="}) {
    EXPECT_FALSE(parse_verifier(with("4096", salt, stored_key_text, server_key_text))) << salt;
  }
}

TEST(ScramVerifier, takes_keys_of_32_bytes_only) {
  const auto all_of = [](std::size_t size) { return base64_encode(std::string(size, 'k')); };
  for (const std::size_t size : {0U, 1U, 16U, 31U, 33U, 64U}) {
    EXPECT_FALSE(parse_verifier(with("4096", salt_text, all_of(size), server_key_text))) << size;
    EXPECT_FALSE(parse_verifier(with("4096", salt_text, stored_key_text, all_of(size)))) << size;
  }
  EXPECT_TRUE(parse_verifier(with("4096", salt_text, all_of(32), all_of(32))));
}

TEST(ScramVerifier, refuses_keys_that_are_not_canonical_base64) {
  auto padded = stored_key_text, spaced = stored_key_text, left_over = stored_key_text;
  padded += "=";
  spaced[3] = ' ';
  left_over[42] = 'Z';
  for (const auto& key : {padded, spaced, left_over, " " + stored_key_text, stored_key_text + " ", stored_key_text + "\n"}) {
    EXPECT_FALSE(parse_verifier(with("4096", salt_text, key, server_key_text))) << key;
    EXPECT_FALSE(parse_verifier(with("4096", salt_text, stored_key_text, key))) << key;
  }
}

TEST(ScramVerifier, refuses_other_mechanisms_hashes_and_plain_passwords) {
  const auto rest = verifier_text.substr(std::string("SCRAM-SHA-256").size());
  for (const std::string& text :
       {"SCRAM-SHA-1" + rest, "SCRAM-SHA-512" + rest, "SCRAM-SHA-256-PLUS" + rest, "scram-sha-256" + rest, rest, rest.substr(1),
        " " + verifier_text, "md5900150983cd24fb0d6963f7d28e17f72"s, "pencil"s, ""s, "$:$:"s, "SCRAM-SHA-256$:$:"s}) {
    EXPECT_FALSE(parse_verifier(text)) << text;
  }
}

TEST(ScramVerifier, refuses_separators_that_are_missing_doubled_or_exchanged) {
  for (std::size_t at = 0; at < verifier_text.size(); ++at) {
    const char c = verifier_text[at];
    if (c != '$' && c != ':') continue;
    auto missing = verifier_text, doubled = verifier_text, exchanged = verifier_text;
    missing.erase(at, 1);
    doubled.insert(at, 1, c);
    exchanged[at] = c == '$' ? ':' : '$';
    EXPECT_FALSE(parse_verifier(missing)) << missing;
    EXPECT_FALSE(parse_verifier(doubled)) << doubled;
    EXPECT_FALSE(parse_verifier(exchanged)) << exchanged;
  }
}

TEST(ScramVerifier, refuses_every_prefix_and_anything_after_the_end) {
  for (std::size_t length = 0; length < verifier_text.size(); ++length) {
    EXPECT_FALSE(parse_verifier(verifier_text.substr(0, length))) << length;
  }
  for (const std::string& rest : {"="s, ":"s, "$"s, "A"s, "\n"s, "\0"s, "AAAA"s}) {
    EXPECT_FALSE(parse_verifier(verifier_text + rest)) << rest;
  }
}

TEST(ScramVerifier, of_a_user_that_does_not_exist_shows_the_same_salt_each_time) {
  const auto first = mock_verifier("nobody", "secret of this process");
  const auto again = mock_verifier("nobody", "secret of this process");
  EXPECT_EQ(first.salt, again.salt);
  EXPECT_EQ(first.salt.size(), 16U);
  EXPECT_EQ(first.iterations, 4096U);
}

TEST(ScramVerifier, of_users_that_do_not_exist_differ_by_user_and_by_process) {
  std::set<std::string> salts;
  for (const char* user : {"", "a", "b", "nobody"}) {
    for (const char* secret : {"one", "two"}) salts.insert(mock_verifier(user, secret).salt);
  }
  EXPECT_EQ(salts.size(), 8U);
}

TEST(ScramVerifier, of_a_user_that_does_not_exist_fits_no_key_of_another_call) {
  const auto first = mock_verifier("nobody", "secret"), again = mock_verifier("nobody", "secret");
  EXPECT_NE(first.stored_key, again.stored_key);
  EXPECT_NE(first.server_key, again.server_key);
  EXPECT_NE(first.stored_key, Digest{});
}

}  // namespace
}  // namespace holdfast::crypto
