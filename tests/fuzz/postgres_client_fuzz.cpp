// A client that sends anything, in pieces of any size, to a session with a backend that never answers.
#include <algorithm>

#include "tests/fuzz/postgres_session_driver.hpp"

using namespace holdfast::proxy::postgres;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  fuzz::SessionDriver driver;
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::size_t piece = static_cast<unsigned char>(bytes[0]) + 1U;
  bytes.remove_prefix(1);
  while (!bytes.empty() && !driver.closed()) {
    const auto part = bytes.substr(0, piece);
    driver.client_sends(part);
    bytes.remove_prefix(part.size());
  }
  // What reaches the server is what the client sent, as far as it went: nothing is prepared, so nothing is added.
  const auto sent = driver.take_to_server();
  fuzz::require(sent.size() < size && std::equal(sent.begin(), sent.end(), data + 1,
                                                 [](char a, std::uint8_t b) { return a == static_cast<char>(b); }));
  if (!driver.closed()) driver.server_closes(Witness::gone);
  driver.require_bounded();
  return 0;
}
