// Hashes, HMAC, PBKDF2 and random bytes, from OpenSSL; nothing of OpenSSL shows.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace holdfast::crypto {

inline constexpr std::size_t sha256_size = 32;
/// A SHA-256 sized secret or hash, as bytes.
using Digest = std::array<unsigned char, sha256_size>;

[[nodiscard]] Digest sha256(std::string_view data);
[[nodiscard]] Digest hmac_sha256(std::string_view key, std::string_view data);
[[nodiscard]] Digest pbkdf2_sha256(std::string_view password, std::string_view salt, std::uint32_t iterations);
[[nodiscard]] std::string md5_hex(std::string_view data);
/// Compares without telling by its duration where the first difference stands.
[[nodiscard]] bool constant_time_equal(std::string_view a, std::string_view b);

[[nodiscard]] inline std::string_view view(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

/// What PostgreSQL keeps of a password for its md5 method, in hex: md5(password + user).
[[nodiscard]] std::string md5_stored(std::string_view user, std::string_view password);
/// PostgreSQL's answer to AuthenticationMD5Password: "md5" + md5(stored + salt).
[[nodiscard]] std::string md5_answer(std::string_view stored, std::string_view salt);

}  // namespace holdfast::crypto
