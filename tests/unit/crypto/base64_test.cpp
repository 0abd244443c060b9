// Base64 in both directions against a plain encoder of this test's own, and everything that must be refused.
#include "crypto/base64.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <random>
#include <string>
#include <string_view>
#include <utility>

namespace holdfast::crypto {
namespace {

using namespace std::string_literals;

constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 4648, section 4, bit by bit.
std::string encoded_plainly(std::string_view data) {
  std::string out;
  unsigned bits = 0, held = 0;
  for (const char c : data) {
    held = held << 8 | static_cast<unsigned char>(c);
    for (bits += 8; bits >= 6; bits -= 6) out += alphabet[held >> (bits - 6) & 63];
  }
  if (bits > 0) out += alphabet[held << (6 - bits) & 63];
  while (out.size() % 4 != 0) out += '=';
  return out;
}

TEST(Base64, gives_the_values_of_rfc_4648) {
  const std::pair<const char*, const char*> vectors[] = {{"", ""},          {"f", "Zg=="},        {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},   {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, text] : vectors) {
    EXPECT_EQ(base64_encode(plain), text);
    EXPECT_EQ(base64_decode(text), plain);
  }
}

TEST(Base64, carries_every_length_and_every_byte_there_and_back) {
  std::mt19937 random(1);
  std::uniform_int_distribution<int> byte(0, 255);
  for (std::size_t length = 0; length <= 300; ++length) {
    std::string data(length, '\0');
    for (char& c : data) c = static_cast<char>(byte(random));
    const auto text = base64_encode(data);
    ASSERT_EQ(text, encoded_plainly(data)) << length;
    ASSERT_EQ(base64_decode(text), data) << length;
  }
}

TEST(Base64, carries_bytes_of_zero_and_of_all_ones) {
  for (std::size_t length = 0; length <= 100; ++length) {
    for (const char c : {'\0', '\xff'}) {
      const std::string data(length, c);
      ASSERT_EQ(base64_decode(base64_encode(data)), data) << length;
    }
  }
}

TEST(Base64, carries_a_large_block) {
  const std::string data(100'000, 'x');
  EXPECT_EQ(base64_decode(base64_encode(data)), data);
}

TEST(Base64, refuses_every_character_outside_its_alphabet_at_every_place) {
  for (const std::string valid : {"Zm9vYmFy", "Zm9vYg==", "Zm9vYmE="}) {
    for (std::size_t place = 0; place < valid.size(); ++place) {
      for (int value = 0; value < 256; ++value) {
        const char c = static_cast<char>(value);
        if (alphabet.find(c) != std::string_view::npos || c == '=') continue;
        auto text = valid;
        text[place] = c;
        ASSERT_FALSE(base64_decode(text)) << valid << " with " << value << " at " << place;
      }
    }
  }
}

TEST(Base64, refuses_every_such_character_put_before_after_and_between) {
  for (int value = 0; value < 256; ++value) {
    const char c = static_cast<char>(value);
    if (alphabet.find(c) != std::string_view::npos) continue;
    for (std::size_t count = 1; count <= 4; ++count) {
      const std::string filler(count, c);
      ASSERT_FALSE(base64_decode(filler + "Zm9v")) << value;
      ASSERT_FALSE(base64_decode("Zm9v" + filler)) << value;
      ASSERT_FALSE(base64_decode("Zm" + filler + "9v")) << value;
      ASSERT_FALSE(base64_decode(filler)) << value;
    }
  }
}

TEST(Base64, refuses_every_length_that_is_no_multiple_of_four) {
  const std::string text = base64_encode(std::string(48, 'x'));
  for (std::size_t length = 0; length <= text.size(); ++length) {
    EXPECT_EQ(base64_decode(text.substr(0, length)).has_value(), length % 4 == 0) << length;
  }
}

TEST(Base64, refuses_padding_anywhere_but_at_the_end) {
  for (const char* text : {"=", "==", "===", "====", "=Zm9", "Z===", "Zg=v", "Z=9v", "Zg==Zg==", "Zm8=Zm9v", "Zm9v====", "Zm9v=",
                           "Zg=", "Zg===", "=====", "========", "Zm9vYg==="}) {
    EXPECT_FALSE(base64_decode(text)) << text;
  }
}

TEST(Base64, refuses_bits_left_over_in_the_last_character) {
  for (const char c : alphabet) {
    const bool no_bits_of_four = alphabet.find(c) % 16 == 0;
    const bool no_bits_of_two = alphabet.find(c) % 4 == 0;
    EXPECT_EQ(base64_decode("Z"s + c + "==").has_value(), no_bits_of_four) << c;
    EXPECT_EQ(base64_decode("Zm"s + c + "=").has_value(), no_bits_of_two) << c;
  }
}

TEST(Base64, refuses_line_breaks_and_the_url_alphabet) {
  for (const char* text : {"Zm9v\nZm9v", "Zm9vZm9v\n", "\r\nZm9v\r\n", "-_-_", "Zm9v\n\n\n\n"}) {
    EXPECT_FALSE(base64_decode(text)) << text;
  }
}

// What decodes at all must encode to the same text again: the property that makes a refusal of the rest complete.
TEST(Base64, every_text_of_four_characters_that_decodes_is_canonical) {
  const std::string some = "AQgw+/z9= \n-";
  for (const char a : some) {
    for (const char b : some) {
      for (const char c : some) {
        for (const char d : some) {
          const std::string text{a, b, c, d};
          const auto decoded = base64_decode(text);
          ASSERT_TRUE(!decoded || encoded_plainly(*decoded) == text) << text;
        }
      }
    }
  }
}

}  // namespace
}  // namespace holdfast::crypto
