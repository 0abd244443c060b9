// Startup packets and authentication messages, both ways.
#include "protocol/postgres/startup.hpp"

#include "protocol/postgres/messages.hpp"

namespace holdfast::postgres {
namespace {

constexpr std::int32_t cancel_code = 80877102;
constexpr std::int32_t ssl_code = 80877103;
constexpr std::int32_t gss_code = 80877104;
constexpr std::size_t secret_key_length_max = 256;

StartupResult parse_parameters(Reader& reader, Startup& startup) {
  for (;;) {
    const auto name = reader.cstring();
    if (reader.failed()) return StartupResult::bad_packet;
    if (name.empty()) break;
    const auto value = reader.cstring();
    if (reader.failed()) return StartupResult::bad_packet;
    startup.parameters.emplace_back(name, value);
  }
  return reader.check() ? StartupResult::complete : StartupResult::bad_packet;
}

}  // namespace

std::string_view Startup::parameter(std::string_view name) const {
  // The last one counts, as in the server.
  std::string_view value;
  for (const auto& [key, text] : parameters) {
    if (key == name) value = text;
  }
  return value;
}

bool Startup::is_replication() const {
  const auto value = parameter("replication");
  return !value.empty() && value != "false" && value != "off" && value != "no" && value != "0" && value != "f" &&
         value != "n";
}

StartupResult parse_startup(std::string_view bytes, Startup& startup, std::size_t& used) {
  used = 0;
  if (bytes.size() < 4) return StartupResult::need_more;
  const std::uint32_t length = load_u32(bytes.data());
  if (length < 8 || length > startup_length_max) return StartupResult::bad_length;
  if (bytes.size() < length) return StartupResult::need_more;
  startup = Startup{};
  Reader reader(bytes.substr(4, length - 4));
  const auto code = reader.i32();
  used = length;
  if (code == ssl_code || code == gss_code) {
    startup.kind = code == ssl_code ? Startup::Kind::ssl_request : Startup::Kind::gss_request;
    return reader.check() ? StartupResult::complete : StartupResult::bad_packet;
  }
  if (code == cancel_code) {
    startup.kind = Startup::Kind::cancel;
    startup.process_id = reader.i32();
    startup.secret_key = std::string(reader.rest());
    const auto size = startup.secret_key.size();
    if (reader.failed() || size < 4 || size > secret_key_length_max) return StartupResult::bad_packet;
    return StartupResult::complete;
  }
  startup.kind = Startup::Kind::startup;
  startup.version = code;
  if (code >> 16 != 3) return StartupResult::unsupported_version;
  return parse_parameters(reader, startup);
}

void write_startup(std::string& out, std::int32_t version,
                   const std::vector<std::pair<std::string, std::string>>& parameters) {
  Writer writer(out, 0);
  writer.i32(version);
  for (const auto& [name, value] : parameters) writer.cstring(name).cstring(value);
  writer.u8(0).finish();
}

void write_ssl_request(std::string& out) { Writer(out, 0).i32(ssl_code).finish(); }

void write_cancel_request(std::string& out, std::int32_t process_id, std::string_view secret_key) {
  Writer(out, 0).i32(cancel_code).i32(process_id).bytes(secret_key).finish();
}

void write_negotiate_version(std::string& out, std::int32_t version, const std::vector<std::string>& unknown_options) {
  Writer writer(out, backend::negotiate_version);
  writer.i32(version).i32(static_cast<std::int32_t>(unknown_options.size()));
  for (const auto& option : unknown_options) writer.cstring(option);
  writer.finish();
}

void write_authentication(std::string& out, std::int32_t kind, std::string_view data) {
  Writer(out, backend::authentication).i32(kind).bytes(data).finish();
}

void write_backend_key_data(std::string& out, std::int32_t process_id, std::string_view secret_key) {
  Writer(out, backend::backend_key_data).i32(process_id).bytes(secret_key).finish();
}

void write_password(std::string& out, std::string_view password) {
  Writer(out, frontend::password).cstring(password).finish();
}

void write_sasl_initial(std::string& out, std::string_view mechanism, std::string_view data) {
  Writer(out, frontend::password).cstring(mechanism).i32(static_cast<std::int32_t>(data.size())).bytes(data).finish();
}

void write_sasl_response(std::string& out, std::string_view data) {
  Writer(out, frontend::password).bytes(data).finish();
}

bool parse_sasl_initial(std::string_view body, SaslInitial& initial) {
  Reader reader(body);
  initial.mechanism = reader.cstring();
  const auto length = reader.i32();
  initial.data = length < 0 ? std::string_view{} : reader.take(static_cast<std::size_t>(length));
  return reader.check();
}

bool parse_sasl_mechanisms(std::string_view data, std::vector<std::string_view>& mechanisms) {
  mechanisms.clear();
  Reader reader(data);
  for (;;) {
    const auto mechanism = reader.cstring();
    if (reader.failed()) return false;
    if (mechanism.empty()) return reader.check();
    mechanisms.push_back(mechanism);
  }
}

}  // namespace holdfast::postgres
