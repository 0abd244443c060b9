// Any bytes as what DNS has for a mongodb+srv:// URI: read without a fault, and no host outside of the URI's domain comes of it.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "config/load.hpp"

using namespace holdfast::config;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  std::string error;
  const auto uri = parse_mongo_uri("mongodb+srv://app:x@set.db.test/", error);
  const auto line = bytes.find('\n');
  const std::string target(bytes.substr(0, line));
  const std::string text(line == std::string_view::npos ? std::string_view() : bytes.substr(line + 1));
  for (const auto& host : polled_seeds(*uri->srv, uri->hosts, {{target, 27017}}, error)) {
    if (!host.host.ends_with(".db.test")) std::abort();
  }
  error.clear();
  const auto found = with_seeds(*uri, {{target, 27017}}, {text}, error);
  if (!found) return error.empty() ? (std::abort(), 0) : 0;
  for (const auto& host : found->hosts) {
    if (!host.host.ends_with(".db.test") || found->user != "app" || !found->tls) std::abort();
  }
  return 0;
}
