// Reads the variables, asks each socket for its address, and looks for who is meant.
#include "cli/inherited_sockets.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <stdexcept>
#include <utility>
#include <vector>

namespace holdfast::cli {
namespace {

constexpr std::string_view admin_name = "admin";

[[noreturn]] void fail(const std::string& reason) { throw std::runtime_error("LISTEN_FDS: " + reason); }

int number(const std::optional<std::string>& text) {
  int value = -1;
  if (text) std::from_chars(text->data(), text->data() + text->size(), value);
  return value;
}

std::vector<std::string> names(const std::string& text) {
  std::vector<std::string> all;
  for (std::size_t from = 0; from <= text.size();) {
    const auto to = std::min(text.find(':', from), text.size());
    all.push_back(text.substr(from, to - from));
    from = to + 1;
  }
  return all;
}

int option(int socket, int name) {
  int value = 0;
  socklen_t size = sizeof value;
  return ::getsockopt(socket, SOL_SOCKET, name, &value, &size) == 0 ? value : 0;
}

std::optional<config::ListenAddress> listening_address(int socket) {
  if (option(socket, SO_TYPE) != SOCK_STREAM || option(socket, SO_ACCEPTCONN) == 0) return std::nullopt;
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0) return std::nullopt;
  config::ListenAddress listen;
  char text[INET6_ADDRSTRLEN] = {};
  if (address.ss_family == AF_INET) {
    const auto& ip = reinterpret_cast<const sockaddr_in&>(address);
    listen.host = ::inet_ntop(AF_INET, &ip.sin_addr, text, sizeof text);
    listen.port = ntohs(ip.sin_port);
  } else if (address.ss_family == AF_INET6) {
    const auto& ip = reinterpret_cast<const sockaddr_in6&>(address);
    listen.host = ::inet_ntop(AF_INET6, &ip.sin6_addr, text, sizeof text);
    listen.port = ntohs(ip.sin6_port);
  } else if (address.ss_family == AF_UNIX && size > offsetof(sockaddr_un, sun_path)) {
    listen.unix_path = reinterpret_cast<const sockaddr_un&>(address).sun_path;
    if (listen.unix_path.empty()) return std::nullopt;  // an abstract one has no path
  } else {
    return std::nullopt;
  }
  return listen;
}

/// Names that the configuration knows for addresses.
config::ListenAddress without_names(config::ListenAddress listen) {
  if (listen.host == "localhost") listen.host = "127.0.0.1";
  if (listen.host == "*") listen.host = "0.0.0.0";
  return listen;
}

/// Gives the socket to everything that listens on its address.
bool give_by_address(const proxy::InheritedSocket& socket, const config::Config& config, Inherited& into) {
  for (const auto& connection : config.connections) {
    for (const auto& listen : connection.listen) {
      if (without_names(listen) != socket.address) continue;
      into.connections[connection.id].emplace(listen.to_string(), socket);
      return true;
    }
  }
  if (!config.admin.listen || without_names(*config.admin.listen) != socket.address) return false;
  into.admin = socket;
  return true;
}

bool give_by_name(const proxy::InheritedSocket& socket, const std::string& name, const config::Config& config, Inherited& into) {
  const auto place = socket.address.to_string();
  const auto found = std::ranges::find(config.connections, name, &config::Connection::id);
  if (found != config.connections.end()) {
    if (found->listen.size() != 1) fail(place + " is named " + name + ", which listens on several addresses but not on this one");
    // The configuration was checked with its own address, not with this one.
    if (found->auth == config::AuthMode::trust && !socket.address.is_local()) {
      fail(place + " is named " + name + ": trust is for loopback and unix sockets only");
    }
    if (!into.connections[name].emplace(found->listen.front().to_string(), socket).second) fail("several sockets are named " + name);
    return true;
  }
  if (name != admin_name || !config.admin.listen) return false;
  if (into.admin) fail("several sockets are named " + name);
  into.admin = socket;
  return true;
}

}  // namespace

Inherited inherited_sockets(const std::function<std::optional<std::string>(std::string_view)>& environment,
                            const config::Config& config, int first) {
  Inherited inherited;
  // The variables are for one process: a child of it must not take the sockets for its own.
  if (!environment || number(environment("LISTEN_PID")) != ::getpid()) return inherited;
  const auto count = number(environment("LISTEN_FDS"));
  const auto named = names(environment("LISTEN_FDNAMES").value_or(""));
  for (int index = 0; index < count; ++index) {
    const int descriptor = first + index;
    ::fcntl(descriptor, F_SETFD, FD_CLOEXEC);
    const auto address = listening_address(descriptor);
    if (!address) fail("descriptor " + std::to_string(descriptor) + " is no listening stream socket");
    const proxy::InheritedSocket socket{descriptor, *address};
    const auto place = static_cast<std::size_t>(index);
    const auto name = place < named.size() ? named[place] : std::string{};
    if (give_by_address(socket, config, inherited) || give_by_name(socket, name, config, inherited)) continue;
    fail("nothing listens on " + address->to_string() + ", and its name" + (name.empty() ? "" : " " + name) +
         " is neither a connection's id nor " + std::string(admin_name));
  }
  return inherited;
}

}  // namespace holdfast::cli
