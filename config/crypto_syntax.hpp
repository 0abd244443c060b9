// The written form of a SCRAM verifier, without the means to use it.
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <system_error>

namespace holdfast::config {

/// Canonical base64 (RFC 4648, section 4) of at least one byte.
[[nodiscard]] inline bool is_base64(std::string_view text) {
  constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  if (text.empty() || text.size() % 4 != 0) return false;
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  text.remove_suffix(padding);
  if (text.find_first_not_of(alphabet) != std::string_view::npos) return false;
  // The last character holds two or four bits that no byte takes: they must be zero.
  return alphabet.find(text.back()) % (std::size_t{1} << (2 * padding)) == 0;
}

/// `SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY` with base64 parts of the right length, and a count that the
/// proxy is ready to work through. With `older` the same of SCRAM-SHA-1, which MongoDB has too.
[[nodiscard]] inline bool is_scram_verifier(std::string_view text, bool older = false) {
  const std::string_view prefix = older ? "SCRAM-SHA-1$" : "SCRAM-SHA-256$";
  constexpr std::uint32_t iterations_max = 1'000'000;
  const std::size_t key_size = older ? 28 : 44;  // 20 or 32 bytes
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  const auto colon = text.find(':');
  const auto dollar = text.find('$');
  if (colon == std::string_view::npos || dollar == std::string_view::npos || dollar < colon) return false;
  std::uint32_t iterations = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + colon, iterations);
  if (error != std::errc{} || end != text.data() + colon || iterations == 0 || iterations > iterations_max) return false;
  const auto keys = text.substr(dollar + 1);
  const auto is_key = [](std::string_view part) { return is_base64(part) && part.ends_with('=') && !part.ends_with("=="); };
  return is_base64(text.substr(colon + 1, dollar - colon - 1)) && keys.size() == 2 * key_size + 1 &&
         keys[key_size] == ':' && is_key(keys.substr(0, key_size)) && is_key(keys.substr(key_size + 1));
}

}  // namespace holdfast::config
