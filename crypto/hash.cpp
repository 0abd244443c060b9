// OpenSSL's libcrypto behind plain functions.
#include "crypto/hash.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <stdexcept>

#include "crypto/base64.hpp"
#include "crypto/random.hpp"

namespace holdfast::crypto {
namespace {

const unsigned char* bytes(std::string_view data) { return reinterpret_cast<const unsigned char*>(data.data()); }

void require(int result, const char* what) {
  if (result != 1) throw std::runtime_error(what);
}

const EVP_MD* method_of(HashKind kind) { return kind == HashKind::sha1 ? EVP_sha1() : EVP_sha256(); }

}  // namespace

Digest hash(HashKind kind, std::string_view data) {
  Digest digest{};
  require(EVP_Digest(data.data(), data.size(), digest.data(), nullptr, method_of(kind), nullptr), "hashing failed");
  return digest;
}

Digest hmac(HashKind kind, std::string_view key, std::string_view data) {
  Digest digest{};
  unsigned int size = 0;
  if (key.empty()) key = "";  // OpenSSL takes a null pointer for the key of the call before
  if (HMAC(method_of(kind), key.data(), static_cast<int>(key.size()), bytes(data), data.size(), digest.data(), &size) ==
      nullptr) {
    throw std::runtime_error("HMAC failed");
  }
  return digest;
}

Digest pbkdf2(HashKind kind, std::string_view password, std::string_view salt, std::uint32_t iterations) {
  Digest digest{};
  require(PKCS5_PBKDF2_HMAC(password.data(), static_cast<int>(password.size()), bytes(salt),
                            static_cast<int>(salt.size()), static_cast<int>(iterations), method_of(kind),
                            static_cast<int>(hash_size(kind)), digest.data()),
          "PBKDF2 failed");
  return digest;
}

std::string md5_hex(std::string_view data) {
  unsigned char digest[16];
  require(EVP_Digest(data.data(), data.size(), digest, nullptr, EVP_md5(), nullptr), "MD5 failed");
  static constexpr char digits[] = "0123456789abcdef";
  std::string hex;
  for (const unsigned char byte : digest) {
    hex += digits[byte >> 4];
    hex += digits[byte & 15];
  }
  return hex;
}

bool constant_time_equal(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string md5_stored(std::string_view user, std::string_view password) {
  return md5_hex(std::string(password) + std::string(user));
}

std::string md5_answer(std::string_view stored, std::string_view salt) {
  return "md5" + md5_hex(std::string(stored) + std::string(salt));
}

void random_bytes(std::span<char> out) {
  require(RAND_bytes(reinterpret_cast<unsigned char*>(out.data()), static_cast<int>(out.size())),
          "the random generator failed");
}

std::string base64_encode(std::string_view data) {
  std::string out(4 * ((data.size() + 2) / 3), '\0');
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), bytes(data), static_cast<int>(data.size()));
  return out;
}

std::optional<std::string> base64_decode(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  if (text.empty()) return std::string();
  std::string out(text.size() / 4 * 3, '\0');
  const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()), bytes(text), static_cast<int>(text.size()));
  if (size < 0) return std::nullopt;
  const auto padding = text.ends_with("==") ? 2U : text.ends_with('=') ? 1U : 0U;
  out.resize(static_cast<std::size_t>(size) - padding);
  // What does not come out the same was not canonical: blanks, padding in the middle, bits left over.
  if (base64_encode(out) != text) return std::nullopt;
  return out;
}

}  // namespace holdfast::crypto
