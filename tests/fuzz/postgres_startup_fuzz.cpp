// The first bytes of a stranger: whatever is read must be written back as it came.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/postgres/startup.hpp"

using namespace holdfast::postgres;

namespace {
void require(bool holds) {
  if (!holds) std::abort();
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  Startup startup;
  std::size_t used = 0;
  const auto result = parse_startup(bytes, startup, used);
  require(used <= size);
  if (result == StartupResult::complete) {
    std::string again;
    switch (startup.kind) {
      case Startup::Kind::startup: write_startup(again, startup.version, startup.parameters); break;
      case Startup::Kind::ssl_request: write_ssl_request(again); break;
      case Startup::Kind::cancel: write_cancel_request(again, startup.process_id, startup.secret_key); break;
      case Startup::Kind::gss_request: again = bytes.substr(0, used); break;
    }
    require(again == bytes.substr(0, used));
    static_cast<void>(startup.is_replication());
    // Nothing is decided before the last byte.
    for (std::size_t part = 0; part < bytes.size() && part < again.size(); part += again.size() / 16 + 1) {
      require(parse_startup(bytes.substr(0, part), startup, used) == StartupResult::need_more);
    }
  }
  SaslInitial initial;
  static_cast<void>(parse_sasl_initial(bytes, initial));
  std::vector<std::string_view> mechanisms;
  static_cast<void>(parse_sasl_mechanisms(bytes, mechanisms));
  return 0;
}
