// Both sides of a session, losses, refusals, snapshots and new backends in any order. The first byte of each step says what
// happens; what is sent is either put together from well-formed messages or taken as it comes.
#include <algorithm>
#include <array>

#include "tests/fuzz/postgres_session_driver.hpp"

using namespace holdfast::proxy::postgres;

namespace {

constexpr std::array<std::string_view, 19> texts = {
    "SELECT a FROM t", "INSERT INTO t VALUES (1)", "BEGIN", "COMMIT", "ROLLBACK", "SET a.b = 'c'", "LISTEN x",
    "SELECT app.f()", "DISCARD ALL", "DEALLOCATE ALL", "EXECUTE s1", "COPY t FROM STDIN", "PREPARE p AS SELECT 1",
    "BEGIN; INSERT INTO t VALUES (1)", "SELECT set_config('a.b', x, false)", "", "PREPARE TRANSACTION 'a'", "COMMIT PREPARED 'a'",
    "ROLLBACK PREPARED 'a'"};
constexpr std::array<std::string_view, 4> names = {"", "s1", "s2", "s3"};
constexpr std::array<std::string_view, 8> codes = {"22012", "57P01", "57P02", "25P03", "57P05", "08P01", "40001", "25P02"};

void client_message(std::string& out, unsigned char kind, unsigned char what) {
  const auto name = names[what % names.size()];
  switch (kind % 12) {
    case 0: case 1: return pg::write_query(out, texts[what % texts.size()]);
    case 2: return pg::Writer(out, 'P').cstring(name).cstring(texts[what / 4 % texts.size()]).i16(0).finish();
    case 3: return pg::Writer(out, 'B').cstring("").cstring(name).i16(0).i16(0).i16(0).finish();
    case 4: return pg::Writer(out, 'E').cstring("").i32(0).finish();
    case 5: case 6: return pg::write_sync(out);
    case 7: return pg::Writer(out, 'D').u8(what & 4 ? 'S' : 'P').cstring(name).finish();
    case 8: return pg::Writer(out, 'C').u8(what & 4 ? 'S' : 'P').cstring(name).finish();
    case 9: return pg::Writer(out, 'd').bytes(std::string(what * 4, 'x')).finish();
    case 10: return pg::Writer(out, what & 1 ? 'c' : 'H').finish();
    default: return pg::Writer(out, 'F').i32(1).finish();
  }
}

void server_message(std::string& out, unsigned char kind, unsigned char what) {
  constexpr std::string_view tags[] = {"SELECT 1", "SET", "COMMIT", "ROLLBACK", "DISCARD ALL", "DEALLOCATE ALL",
                                       "PREPARE TRANSACTION", "COMMIT PREPARED"};
  constexpr std::string_view simple = "123nsIHcGW";
  switch (kind % 8) {
    case 0: return pg::write_ready_for_query(out, "ITE"[what % 3]);
    case 1: return pg::write_command_complete(out, tags[what % std::size(tags)]);
    case 2: return pg::write_error(out, {what & 8 ? "FATAL" : "ERROR", codes[what % codes.size()], "text"});
    case 3: return pg::write_notice(out, {"WARNING", codes[what % codes.size()], "text"});
    case 4:
      if (what == 2) return pg::Writer(out, 'D').i16(2).i32(1).bytes("7").i32(0).finish();
      return pg::Writer(out, 'D').i16(1).i32(what).bytes(std::string(what, 'x')).finish();
    case 5: return pg::Writer(out, 'T').i16(0).finish();
    case 6: return pg::write_parameter_status(out, "TimeZone", what & 1 ? "UTC" : "CET");
    default: return pg::Writer(out, simple[what % simple.size()]).finish();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::SessionDriver driver(size % 2 == 0 ? fuzz::SessionDriver::Ledger::on : fuzz::SessionDriver::Ledger::off);
  const auto* end = data + size;
  const auto next = [&]() -> unsigned char { return data == end ? 0 : *data++; };
  while (data != end && !driver.closed()) {
    const auto step = next();
    std::string bytes;
    switch (step % 16) {
      case 0: driver.server_closes(step & 16 ? Witness::alive : Witness::gone); break;
      case 1: driver.attach(step); break;
      case 2: driver.refuse(); break;
      case 3: step & 16 ? driver.sweep_ledger() : driver.snapshot(); break;
      case 4: case 5: {
        const auto count = std::min<std::size_t>(next() % 16, static_cast<std::size_t>(end - data));
        bytes.assign(reinterpret_cast<const char*>(data), count);
        data += count;
        if (step % 16 == 4) {
          driver.client_sends(bytes);
        } else {
          driver.server_sends(bytes);
        }
        break;
      }
      case 6: case 7: case 8: case 9: case 10: {
        for (int count = step / 16 % 4; count >= 0; --count) {
          const auto kind = next();
          client_message(bytes, kind, next());
        }
        driver.client_sends(bytes);
        break;
      }
      default:
        for (int count = step / 16 % 4; count >= 0; --count) {
          const auto kind = next();
          server_message(bytes, kind, next());
        }
        driver.server_sends(bytes);
        break;
    }
  }
  // After all of it a client that only waits is told something, or has nothing to wait for.
  driver.server_closes(Witness::gone);
  driver.refuse();
  fuzz::require(!driver.machine.busy() || driver.machine.state() == SessionState::closed);
  driver.require_bounded();
  return 0;
}
