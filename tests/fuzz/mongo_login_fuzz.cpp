// Any bytes as a client's login: nobody is let in, whatever is sent before or instead of a proof.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "protocol/mongo/document.hpp"
#include "proxy/mongo/client_login.hpp"
#include "proxy/mongo/users.hpp"

using namespace holdfast::proxy::mongo;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

/// The first document is saslStart, the rest saslContinue, once and again.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto length = std::min(size, holdfast::mongo::document_length(bytes).value_or(size));
  const auto start = read_sasl_start(bytes.substr(0, length));
  static const auto verifier = holdfast::crypto::make_verifier("pencil", "salt", 1);
  ClientLogin login(start, verifier, "server-nonce");
  static_cast<void>(login.first(ClientLogin::Ok::with));
  for (int round = 0; round < 2; ++round) {
    static_cast<void>(login.next(bytes.substr(length)));
    require(login.state() != ClientLogin::State::done);
  }
  static_cast<void>(read_users_info(bytes));
  static_cast<void>(holdfast::crypto::user_of_client_first(bytes));
  static_cast<void>(holdfast::crypto::keys_of_exchange(verifier, bytes, bytes, bytes));
  return 0;
}
