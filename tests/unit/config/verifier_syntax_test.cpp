// A verifier that the configuration takes is one that the login can use: both readers must agree on every text.
#include <gtest/gtest.h>

#include <string>

#include "config/crypto_syntax.hpp"
#include "crypto/scram.hpp"

namespace holdfast::config {
namespace {

const std::string valid =
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

void expect_agreement(const std::string& text) {
  ASSERT_EQ(is_scram_verifier(text), crypto::parse_verifier(text).has_value()) << text;
}

TEST(VerifierSyntax, takes_the_form_of_pg_authid) {
  EXPECT_TRUE(is_scram_verifier(valid));
  expect_agreement(valid);
}

TEST(VerifierSyntax, agrees_with_the_login_on_every_prefix_and_every_character_exchanged) {
  const std::string others = "A=Zz09+/$: -\n\xff";
  for (std::size_t at = 0; at < valid.size(); ++at) {
    expect_agreement(valid.substr(0, at));
    auto shorter = valid;
    expect_agreement(shorter.erase(at, 1));
    for (const char c : others) {
      auto exchanged = valid, longer = valid;
      exchanged[at] = c;
      expect_agreement(exchanged);
      expect_agreement(longer.insert(at, 1, c));
    }
  }
}

TEST(VerifierSyntax, agrees_with_the_login_on_counts_and_salts) {
  const auto keys = valid.substr(valid.rfind('$'));
  for (const char* count : {"", "0", "1", "04096", "+1", "-1", "1000000", "1000001", "4294967297", "99999999999999999999"}) {
    expect_agreement("SCRAM-SHA-256$" + std::string(count) + ":QQ==" + keys);
  }
  for (const char* salt : {"", "=", "==", "===", "====", "QQ==", "QR==", "QUI=", "QUJ=", "QUJD", "Q", "QQ", "QQ=", "QQ==QQ==", "Q=Q="}) {
    expect_agreement("SCRAM-SHA-256$4096:" + std::string(salt) + keys);
  }
}

}  // namespace
}  // namespace holdfast::config
