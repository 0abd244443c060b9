// Hashes against the published vectors: FIPS 180-2, RFC 4231, RFC 7914, RFC 1321; and the small helpers beside them.
#include "crypto/hash.hpp"

#include <gtest/gtest.h>

#include <array>
#include <set>
#include <string>
#include <utility>

#include "crypto/random.hpp"

namespace holdfast::crypto {
namespace {

using namespace std::string_literals;

std::string hex(const Digest& digest) {
  std::string out;
  for (const unsigned char byte : digest) {
    out += "0123456789abcdef"[byte >> 4];
    out += "0123456789abcdef"[byte & 15];
  }
  return out;
}

TEST(Hash, sha256_gives_the_digests_of_fips_180) {
  EXPECT_EQ(hex(sha256("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hex(sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(hex(sha256(std::string(1'000'000, 'a'))), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Hash, hmac_sha256_gives_the_values_of_rfc_4231) {
  std::string counted;
  for (char c = 1; c <= 25; ++c) counted += c;
  EXPECT_EQ(hex(hmac_sha256(std::string(20, '\x0b'), "Hi There")),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(hex(hmac_sha256("Jefe", "what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(hex(hmac_sha256(std::string(20, '\xaa'), std::string(50, '\xdd'))),
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
  EXPECT_EQ(hex(hmac_sha256(counted, std::string(50, '\xcd'))),
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b");
  EXPECT_EQ(hex(hmac_sha256(std::string(131, '\xaa'), "Test Using Larger Than Block-Size Key - Hash Key First")),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
  EXPECT_EQ(hex(hmac_sha256(std::string(131, '\xaa'),
                            "This is a test using a larger than block-size key and a larger than block-size data. The key "
                            "needs to be hashed before being used by the HMAC algorithm.")),
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2");
}

TEST(Hash, hmac_takes_an_empty_key_and_empty_data) {
  EXPECT_EQ(hex(hmac_sha256("", "")), "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
  EXPECT_EQ(hex(hmac_sha256({}, {})), "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

// RFC 7914, section 11: the first 32 bytes of its 64, which is the first block.
TEST(Hash, pbkdf2_gives_the_values_of_rfc_7914) {
  EXPECT_EQ(hex(pbkdf2_sha256("passwd", "salt", 1)), "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc");
  EXPECT_EQ(hex(pbkdf2_sha256("Password", "NaCl", 80'000)),
            "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56");
}

TEST(Hash, pbkdf2_takes_bytes_that_are_no_text) {
  EXPECT_NE(pbkdf2_sha256("a\0b"s, "salt", 2), pbkdf2_sha256("a", "salt", 2));
  EXPECT_NE(pbkdf2_sha256("a", "s\0t"s, 2), pbkdf2_sha256("a", "s", 2));
}

TEST(Hash, md5_gives_the_digests_of_rfc_1321) {
  const std::pair<const char*, const char*> suite[] = {
      {"", "d41d8cd98f00b204e9800998ecf8427e"},
      {"a", "0cc175b9c0f1b6a831c399e269772661"},
      {"abc", "900150983cd24fb0d6963f7d28e17f72"},
      {"message digest", "f96b697d7cb7938d525a2f31aaf161d0"},
      {"abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"},
      {"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", "d174ab98d277d9f5a5611c2c9f419d9f"},
      {"12345678901234567890123456789012345678901234567890123456789012345678901234567890",
       "57edf4a22be3c955ac49da2e2107b67a"}};
  for (const auto& [text, digest] : suite) EXPECT_EQ(md5_hex(text), digest) << text;
}

TEST(Hash, what_is_kept_for_md5_hashes_the_password_with_the_user_after_it) {
  EXPECT_EQ(md5_stored("md5user", "secret"), "2aea419619857e8a27f0f7aa641db0c6");
  EXPECT_EQ(md5_stored("md5user", "secret"), md5_hex("secretmd5user"));
}

TEST(Hash, the_answer_to_an_md5_request_hashes_what_is_kept_with_the_salt) {
  const auto stored = md5_stored("md5user", "secret");
  EXPECT_EQ(md5_answer(stored, "\x01\x02\x03\x04"), "md56b614f1bd5dc8478f5705c783c9bbdc0");
  EXPECT_NE(md5_answer(stored, "\0\0\0\0"s), md5_answer(stored, ""));
}

TEST(Hash, constant_time_comparison_agrees_with_the_ordinary_one) {
  const std::string values[] = {"", "a", "b", "ab", "abc", "abd", "bbc", "a\0"s, "\0a"s, std::string(100, 'x')};
  for (const auto& a : values) {
    for (const auto& b : values) EXPECT_EQ(constant_time_equal(a, b), a == b);
  }
}

TEST(Hash, a_digest_viewed_as_text_keeps_all_its_bytes) {
  Digest digest{};
  EXPECT_EQ(view(digest), std::string(32, '\0'));
  digest[31] = 0xff;
  EXPECT_EQ(view(digest).size(), 32U);
  EXPECT_EQ(view(digest)[31], '\xff');
}

TEST(Random, a_thousand_draws_are_a_thousand_different_ones) {
  std::set<std::string> seen;
  for (int i = 0; i < 1'000; ++i) {
    std::array<char, 18> bytes{};
    random_bytes(bytes);
    seen.emplace(bytes.begin(), bytes.end());
  }
  EXPECT_EQ(seen.size(), 1'000U);
}

TEST(Random, drawing_nothing_is_no_error) { EXPECT_NO_THROW(random_bytes({})); }

}  // namespace
}  // namespace holdfast::crypto
