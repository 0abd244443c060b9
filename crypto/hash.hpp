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

/// MongoDB knows SHA-1 too. A digest of it fills the first bytes of a Digest, and zeros the rest.
enum class HashKind { sha256, sha1 };
[[nodiscard]] constexpr std::size_t hash_size(HashKind kind) { return kind == HashKind::sha1 ? 20 : sha256_size; }

[[nodiscard]] Digest hash(HashKind kind, std::string_view data);
[[nodiscard]] Digest hmac(HashKind kind, std::string_view key, std::string_view data);
[[nodiscard]] Digest pbkdf2(HashKind kind, std::string_view password, std::string_view salt, std::uint32_t iterations);

[[nodiscard]] inline Digest sha256(std::string_view data) { return hash(HashKind::sha256, data); }
[[nodiscard]] inline Digest hmac_sha256(std::string_view key, std::string_view data) { return hmac(HashKind::sha256, key, data); }
[[nodiscard]] inline Digest pbkdf2_sha256(std::string_view password, std::string_view salt, std::uint32_t iterations) {
  return pbkdf2(HashKind::sha256, password, salt, iterations);
}
[[nodiscard]] std::string md5_hex(std::string_view data);
/// Compares without telling by its duration where the first difference stands.
[[nodiscard]] bool constant_time_equal(std::string_view a, std::string_view b);

[[nodiscard]] inline std::string_view view(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}
/// As many of its bytes as a hash of this kind has.
[[nodiscard]] inline std::string_view view(const Digest& digest, HashKind kind) { return view(digest).substr(0, hash_size(kind)); }

/// What PostgreSQL keeps of a password for its md5 method, in hex: md5(password + user).
[[nodiscard]] std::string md5_stored(std::string_view user, std::string_view password);
/// PostgreSQL's answer to AuthenticationMD5Password: "md5" + md5(stored + salt).
[[nodiscard]] std::string md5_answer(std::string_view stored, std::string_view salt);

}  // namespace holdfast::crypto
