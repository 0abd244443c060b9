// A server that sends anything to a session with requests of every kind under way.
#include <array>

#include "tests/fuzz/postgres_session_driver.hpp"

using namespace holdfast::proxy::postgres;

namespace {

/// Simple, extended and prepared statements, a copy, a function call, a transaction left open.
std::string requests(unsigned char choice) {
  std::string out;
  const auto segment = [&](std::string_view name, std::string_view text) {
    pg::Writer(out, 'P').cstring(name).cstring(text).i16(0).finish();
    pg::Writer(out, 'B').cstring("").cstring(name).i16(0).i16(0).i16(0).finish();
    pg::Writer(out, 'D').u8('P').cstring("").finish();
    pg::Writer(out, 'E').cstring("").i32(0).finish();
    pg::Writer(out, 'C').u8('S').cstring(name).finish();
  };
  if (choice & 1) pg::write_query(out, "SELECT app.f()");
  if (choice & 2) segment("s1", "SET app.tenant = 'x'");
  if (choice & 4) segment("", "SELECT 1");
  if (choice & 8) pg::write_sync(out);
  if (choice & 16) pg::write_query(out, "COPY t FROM STDIN");
  if (choice & 32) pg::Writer(out, 'c').finish();
  if (choice & 64) pg::write_query(out, "SELECT set_config('a.b', x, false)");
  if (choice & 128) pg::write_sync(out);
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  fuzz::SessionDriver driver;
  driver.client_sends(requests(data[0]));
  std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  const std::size_t piece = data[1] + 1U;
  while (!bytes.empty() && !driver.closed()) {
    const auto part = bytes.substr(0, piece);
    driver.server_sends(part);
    driver.snapshot();
    bytes.remove_prefix(part.size());
  }
  driver.server_closes(Witness::alive);
  driver.attach(200);
  driver.require_bounded();
  return 0;
}
