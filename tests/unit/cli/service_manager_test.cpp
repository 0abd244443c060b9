// What is told to systemd, read from a socket that plays it.
#include "cli/service_manager.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <map>
#include <string>

namespace holdfast::cli {
namespace {

using namespace std::chrono_literals;

/// The manager's end: an abstract socket that no other process has.
class Manager {
 public:
  Manager() : name("@holdfast-test-" + std::to_string(::getpid())) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, name.data(), name.size());
    address.sun_path[0] = '\0';
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    EXPECT_EQ(::bind(descriptor_, reinterpret_cast<const sockaddr*>(&address), length), 0);
  }
  ~Manager() { ::close(descriptor_); }
  Manager(const Manager&) = delete;
  Manager& operator=(const Manager&) = delete;

  /// The next datagram; empty where there is none.
  std::string next() const {
    char buffer[512];
    const auto size = ::recv(descriptor_, buffer, sizeof buffer, MSG_DONTWAIT);
    return size < 0 ? std::string() : std::string(buffer, static_cast<std::size_t>(size));
  }

  const std::string name;

 private:
  int descriptor_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
};

ServiceManager::Environment variables(std::map<std::string, std::string, std::less<>> values) {
  return [values = std::move(values)](std::string_view name) {
    const auto found = values.find(name);
    return found == values.end() ? std::nullopt : std::optional(found->second);
  };
}

TEST(ServiceManager, is_told_when_the_service_is_ready_reloads_ends_and_lives) {
  const Manager manager;
  const ServiceManager service(variables({{"NOTIFY_SOCKET", manager.name}}));
  service.ready();
  EXPECT_TRUE(manager.next().starts_with("READY=1\n"));
  service.reloading();
  EXPECT_TRUE(manager.next().starts_with("RELOADING=1\nMONOTONIC_USEC="));
  service.stopping(29s);
  const auto stopping = manager.next();
  EXPECT_TRUE(stopping.starts_with("STOPPING=1\n"));
  EXPECT_TRUE(stopping.ends_with("EXTEND_TIMEOUT_USEC=29000000")) << stopping;
  service.alive();
  EXPECT_EQ(manager.next(), "WATCHDOG=1");
}

TEST(ServiceManager, that_is_not_there_is_no_error) {
  const Manager manager;
  for (const auto& socket : {std::string(), std::string("relative"), "/no/such/" + manager.name, "/" + std::string(200, 'x')}) {
    const ServiceManager service(variables({{"NOTIFY_SOCKET", socket}, {"WATCHDOG_USEC", "1000000"}}));
    service.ready();
    service.alive();
  }
  ServiceManager(variables({})).ready();
  EXPECT_EQ(manager.next(), "");
}

TEST(ServiceManager, wants_signs_of_life_twice_in_the_watchdogs_time) {
  const Manager manager;
  const auto interval = [&](std::map<std::string, std::string, std::less<>> values) {
    values.emplace("NOTIFY_SOCKET", manager.name);
    return ServiceManager(variables(std::move(values))).alive_interval();
  };
  EXPECT_EQ(interval({{"WATCHDOG_USEC", "30000000"}}), 15s);
  EXPECT_EQ(interval({{"WATCHDOG_USEC", "30000000"}, {"WATCHDOG_PID", std::to_string(::getpid())}}), 15s);
  EXPECT_EQ(interval({{"WATCHDOG_USEC", "30000000"}, {"WATCHDOG_PID", "1"}}), std::nullopt);
  EXPECT_EQ(interval({{"WATCHDOG_USEC", "30000000"}, {"WATCHDOG_PID", "me"}}), std::nullopt);
  EXPECT_EQ(interval({{"WATCHDOG_USEC", "1"}}), 1ms);
  for (const auto* text : {"0", "-5", "soon", "", "5s"}) EXPECT_EQ(interval({{"WATCHDOG_USEC", text}}), std::nullopt) << text;
  EXPECT_EQ(interval({}), std::nullopt);
}

}  // namespace
}  // namespace holdfast::cli
