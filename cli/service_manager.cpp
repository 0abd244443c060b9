// The datagrams of sd_notify(3) and the variables of sd_watchdog_enabled(3).
#include "cli/service_manager.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <cstddef>
#include <cstring>

namespace holdfast::cli {
namespace {

std::optional<std::int64_t> whole_number(const std::optional<std::string>& text) {
  if (!text) return std::nullopt;
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc() || end != text->data() + text->size() || value <= 0) return std::nullopt;
  return value;
}

std::string microseconds(std::chrono::nanoseconds time) {
  return std::to_string(std::chrono::duration_cast<std::chrono::microseconds>(time).count());
}

}  // namespace

ServiceManager::ServiceManager(const Environment& environment) {
  socket_ = environment("NOTIFY_SOCKET").value_or("");
  const bool usable = socket_.starts_with('/') || socket_.starts_with('@');
  if (!usable || socket_.size() >= sizeof(sockaddr_un::sun_path)) socket_.clear();
  const auto time = whole_number(environment("WATCHDOG_USEC"));
  const auto process = environment("WATCHDOG_PID");
  if (socket_.empty() || !time || (process && whole_number(process) != ::getpid())) return;
  alive_interval_ = std::max(std::chrono::milliseconds(1),
                             std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::microseconds(*time / 2)));
}

void ServiceManager::ready() const { send("READY=1\nSTATUS=serving"); }

void ServiceManager::reloading() const {
  // The time lets a manager tell this reload from the one before (Type=notify-reload, systemd 253).
  send("RELOADING=1\nMONOTONIC_USEC=" + microseconds(std::chrono::steady_clock::now().time_since_epoch()));
}

void ServiceManager::stopping(std::chrono::milliseconds time_max) const {
  send("STOPPING=1\nSTATUS=waiting for clients to leave\nEXTEND_TIMEOUT_USEC=" + microseconds(time_max));
}

void ServiceManager::alive() const { send("WATCHDOG=1"); }

void ServiceManager::send(std::string_view message) const {
  if (socket_.empty()) return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, socket_.data(), socket_.size());
  if (socket_.front() == '@') address.sun_path[0] = '\0';
  // An abstract name ends where the address does, so the length counts.
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket_.size());
  const int descriptor = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return;
  static_cast<void>(::sendto(descriptor, message.data(), message.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
                             reinterpret_cast<const sockaddr*>(&address), length));
  ::close(descriptor);
}

}  // namespace holdfast::cli
