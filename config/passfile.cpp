// host:port:database:user:password, one a line, '*' for any, '\' before a colon or backslash.
#include "config/passfile.hpp"

#include <sys/stat.h>

#include <cstddef>
#include <fstream>

namespace holdfast::config {
namespace {

/// What follows the field at the front of `line`, if that field is `*` or says `wanted`.
std::optional<std::string_view> after_field(std::string_view line, std::string_view wanted) {
  if (line.starts_with("*:")) return line.substr(2);
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == ':' && wanted.empty()) return line.substr(i + 1);
    if (line[i] == '\\' && ++i == line.size()) return std::nullopt;
    if (wanted.empty() || line[i] != wanted[0]) return std::nullopt;
    wanted.remove_prefix(1);
  }
  return std::nullopt;
}

/// The last field: up to a colon without a backslash, as libpq has it.
std::string last_field(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size() && text[i] != ':'; ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) ++i;
    out += text[i];
  }
  return out;
}

/// The folders that libpq is built to look for the socket in, in PostgreSQL's own packages and in Debian's.
bool is_default_socket_folder(std::string_view host) {
  return host == "/tmp" || host == "/var/run/postgresql" || host == "/run/postgresql";
}

}  // namespace

PassfileResult look_up_passfile(const std::function<std::optional<std::string>(std::string_view)>& environment,
                                const PostgresUri& uri) {
  PassfileResult result;
  if (!environment) return result;
  if (const auto named = environment("PGPASSFILE"); named && !named->empty()) {
    result.file = *named;
  } else if (const auto home = environment("HOME")) {
    result.file = *home + "/.pgpass";
  }
  struct stat status {};
  if (result.file.empty() || ::stat(result.file.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return result;
  if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    result.warning = "not read: group or others have access to it; permissions should be u=rw (0600) or less";
    return result;
  }
  const auto& host = uri.hosts.front();
  const std::string wanted[] = {is_default_socket_folder(host.host) ? "localhost" : host.host, std::to_string(host.port),
                                uri.database, uri.user};
  std::ifstream in(result.file);
  for (std::string line; std::getline(in, line);) {
    while (line.ends_with('\r')) line.pop_back();
    if (line.starts_with('#')) continue;
    std::optional<std::string_view> rest = line;
    for (const auto& field : wanted) {
      if (rest) rest = after_field(*rest, field);
    }
    if (!rest) continue;
    result.password = Secret(last_field(*rest));
    break;
  }
  return result;
}

}  // namespace holdfast::config
